# Does with Net::FTP all that it can do, once, against one server, twelve
# uploads of 5 MiB among it. Arguments are name=value; scripts_test.go says what
# the directories are and what must be left behind.

use strict;
use warnings;
use Net::FTP;

my %opt = map { split /=/, $_, 2 } @ARGV;
my $up  = "$opt{local}/up";

my %args = (
    Port    => $opt{port},
    Timeout => 20,
    Passive => $opt{data} eq 'passive' ? 1 : 0,
);
if ($opt{tls} ne 'plain') {
    require IO::Socket::SSL;
    $args{SSL_version} = $opt{version} eq '1.3' ? 'TLSv1_3' : 'TLSv1_2';
    if ($opt{ca}) { $args{SSL_ca_file} = $opt{ca} }
    else          { $args{SSL_verify_mode} = 0 }
    $args{SSL} = 1 if $opt{tls} eq 'implicit';
}

my $ftp = Net::FTP->new($opt{host}, %args) or die "connect: $@";

sub must {
    my ($what, $ok) = @_;
    return $ok if $ok;
    chomp(my $said = $ftp->message);
    die "$what: " . $ftp->code . " $said ($!)\n";
}

must('AUTH TLS', $ftp->starttls) if $opt{tls} eq 'explicit';
must('login', $ftp->login($opt{user}, $opt{password}));
# Net::FTP believes that implicit TLS means PROT P and does not send it.
must('TYPE I', $ftp->binary);
must('CWD', $ftp->cwd($opt{dir}));

for my $i (0 .. 11) {
    my $name = sprintf 'twelve-%02d.bin', $i;
    must("STOR $name", $ftp->put("$opt{local}/five.bin", $name));
    my $size = $ftp->size($name);
    die "$name has $size bytes on the server\n" if $size != -s "$opt{local}/five.bin";
}

opendir my $dir, $up or die "$up: $!";
my @names = sort grep { !/^\.\.?$/ } readdir $dir;
my $down = "$opt{local}/down-$opt{dir}";
mkdir $down or die "$down: $!";
for my $name (@names) {
    must("STOR $name", $ftp->put("$up/$name", $name));
    my $size = $ftp->size($name);
    die "$name has $size bytes on the server\n" if $size != -s "$up/$name";
    must("RETR $name", $ftp->get($name, "$down/$name"));
}

my %want = map { $_ => 1 } @names, 'half.bin', map { sprintf 'twelve-%02d.bin', $_ } 0 .. 11;
my %got = map { $_ => 1 } $ftp->ls;
die "NLST: @{[sort keys %got]}; want @{[sort keys %want]}\n"
    if join("\n", sort keys %got) ne join("\n", sort keys %want);
my @lines = $ftp->dir;
must('LIST', $ftp->ok);
for my $name (@names) {
    die "LIST shows no $name\n" unless grep { /^-\S{9} .* \Q$name\E$/ } @lines;
}

my $age = time - must('MDTM', $ftp->mdtm('one'));
die "MDTM is $age s off\n" if abs($age) > 600;

must('MKD', $ftp->mkdir('passing directory'));
must('CWD', $ftp->cwd('passing directory'));
my $made = must('PWD', $ftp->pwd);
die "PWD answers $made\n" if $made ne "/$opt{dir}/passing directory";
must('CDUP', $ftp->cdup);
must('RNTO', $ftp->rename('one', 'passing directory/two'));
must('RNTO', $ftp->rename('passing directory/two', 'one'));
must('RMD', $ftp->rmdir('passing directory'));
must('MKD -p', $ftp->mkdir('p/q/r', 1));
must('RMD -r', $ftp->rmdir('p', 1));
must('STOR passing', $ftp->put("$up/one", 'passing'));
must('DELE', $ftp->delete('passing'));
die "DELE of nothing succeeds\n" if $ftp->delete('passing');
die 'DELE of nothing: ' . $ftp->code . "\n" if $ftp->code != 550;

# Both directions go on from the half: APPE, and REST with RETR.
open my $big, '<:raw', "$up/$opt{big}" or die "$up/$opt{big}: $!";
seek $big, $ftp->size('half.bin'), 0 or die "seek: $!";
must('APPE', $ftp->append($big, 'half.bin'));
my $half = "$opt{local}/half-$opt{dir}.bin";
must('REST', $ftp->get($opt{big}, $half, -s $half));

must('QUIT', $ftp->quit);
