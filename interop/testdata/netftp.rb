# Does with Net::FTP all that it can do, once, against one server, twelve
# uploads of 5 MiB among it. Arguments are name=value; scripts_test.go says what
# the directories are and what must be left behind.

require "net/ftp"
require "openssl"

OPT = ARGV.to_h { |arg| arg.split("=", 2) }
UP = File.join(OPT["local"], "up")
DOWN = File.join(OPT["local"], "down-" + OPT["dir"])

def check(ok, what)
  raise what unless ok
end

def refused(code)
  yield
rescue Net::FTPPermError => e
  check e.message.start_with?(code), e.message
else
  raise "not refused"
end

options = {
  port: OPT["port"].to_i, username: OPT["user"], password: OPT["password"],
  passive: OPT["data"] == "passive", open_timeout: 20, read_timeout: 20,
}
if OPT["tls"] == "explicit"
  version = OPT["version"] == "1.3" ? OpenSSL::SSL::TLS1_3_VERSION : OpenSSL::SSL::TLS1_2_VERSION
  options[:ssl] = { min_version: version, max_version: version }
  if OPT["ca"].empty?
    options[:ssl][:verify_mode] = OpenSSL::SSL::VERIFY_NONE
  else
    options[:ssl][:ca_file] = OPT["ca"]
  end
end

Net::FTP.open(OPT["host"], options) do |ftp|
  ftp.chdir(OPT["dir"])

  five = File.join(OPT["local"], "five.bin")
  12.times do |i|
    name = format("twelve-%02d.bin", i)
    ftp.putbinaryfile(five, name)
    check ftp.size(name) == File.size(five), "#{name} has #{ftp.size(name)} bytes on the server"
  end

  names = Dir.children(UP).sort
  Dir.mkdir(DOWN)
  names.each do |name|
    ftp.putbinaryfile(File.join(UP, name), name)
    check ftp.size(name) == File.size(File.join(UP, name)), "#{name} has another size on the server"
    ftp.getbinaryfile(name, File.join(DOWN, name))
  end

  want = (names + ["half.bin"] + (0..11).map { |i| format("twelve-%02d.bin", i) }).sort
  got = ftp.nlst.map { |name| name.dup.force_encoding("UTF-8") }.sort
  check got == want, "NLST: #{got}"
  entries = ftp.mlsd.reject { |e| %w[cdir pdir].include?(e.type) }
  got = entries.map { |e| e.pathname.dup.force_encoding("UTF-8") }.sort
  check got == want, "MLSD: #{got}"
  entries.each { |e| check e.modify.is_a?(Time) && e.size >= 0, "MLSD: #{e}" }
  entry = ftp.mlst("one")
  check entry.file? && entry.size == 1, "MLST: #{entry}"
  lines = ftp.list.map { |line| line.dup.force_encoding("UTF-8") }
  names.each { |name| check lines.any? { |line| line.end_with?(" " + name) }, "LIST shows no #{name}" }
  text = []
  ftp.gettextfile("text.txt", nil) { |line| text << line.dup.force_encoding("UTF-8") }
  check text == File.readlines(File.join(UP, "text.txt"), chomp: true, encoding: "UTF-8"), "RETR: #{text}"

  check ftp.mtime("one").is_a?(Time), "MDTM"
  ftp.mkdir("passing directory")
  ftp.rename("one", "passing directory/two")
  ftp.rename("passing directory/two", "one")
  ftp.rmdir("passing directory")
  ftp.puttextfile(File.join(UP, "text.txt"), "passing")
  ftp.delete("passing")
  refused("550") { ftp.delete("passing") }
  refused("550") { ftp.getbinaryfile("passing", nil) }

  # Both directions go on from the half: APPE, and REST with RETR.
  ftp.resume = true
  ftp.putbinaryfile(File.join(UP, OPT["big"]), "half.bin")
  ftp.getbinaryfile(OPT["big"], File.join(OPT["local"], "half-#{OPT["dir"]}.bin"))
  ftp.resume = false

  check ftp.system.start_with?("UNIX"), ftp.system
  ftp.noop
  ftp.quit
end
