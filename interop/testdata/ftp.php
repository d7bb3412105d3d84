<?php
// Does with the ftp extension all that it can do, once, against one server.
// Arguments are name=value; scripts_test.go says what the directories are and
// what must be left behind.

declare(strict_types=1);
set_error_handler(function (int $level, string $text): bool {
    fwrite(STDERR, "PHP: $text\n");
    exit(1);
});

$opt = [];
foreach (array_slice($argv, 1) as $arg) {
    [$name, $value] = explode('=', $arg, 2);
    $opt[$name] = $value;
}
$up = "$opt[local]/up";
$down = "$opt[local]/down-$opt[dir]";

function must(string $what, mixed $ok): mixed
{
    if ($ok === false || $ok === -1) {
        fwrite(STDERR, "$what failed\n");
        exit(1);
    }
    return $ok;
}

function same(string $what, array $got, array $want): void
{
    sort($got);
    sort($want);
    if ($got !== $want) {
        fwrite(STDERR, "$what: " . var_export($got, true) . "\n");
        exit(1);
    }
}

// NLST of a directory may put its name before each entry.
function last(string $path): string
{
    return substr('/' . $path, strrpos('/' . $path, '/') + 1);
}

$connect = $opt['tls'] === 'explicit' ? 'ftp_ssl_connect' : 'ftp_connect';
$ftp = must('connect', $connect($opt['host'], (int) $opt['port'], 20));
must('login', ftp_login($ftp, $opt['user'], $opt['password']));
must('passive', ftp_pasv($ftp, $opt['data'] === 'passive'));
must('CWD', ftp_chdir($ftp, $opt['dir']));
same('PWD', [must('PWD', ftp_pwd($ftp))], ["/$opt[dir]"]);
if (!str_starts_with(must('SYST', ftp_systype($ftp)), 'UNIX')) {
    must('SYST', false);
}

$names = array_values(array_diff(scandir($up), ['.', '..']));
mkdir($down);
foreach ($names as $name) {
    must("STOR $name", ftp_put($ftp, $name, "$up/$name", FTP_BINARY));
    if (must("SIZE $name", ftp_size($ftp, $name)) !== filesize("$up/$name")) {
        must("size of $name", false);
    }
    must("RETR $name", ftp_get($ftp, "$down/$name", $name, FTP_BINARY));
}

$want = array_merge($names, ['half.bin']);
same('NLST', array_map('last', must('NLST', ftp_nlist($ftp, '.'))), $want);
$entries = array_filter(must('MLSD', ftp_mlsd($ftp, '.')), fn ($e) => $e['type'] === 'file');
same('MLSD', array_column($entries, 'name'), $want);
if (count(preg_grep('/^-/', must('LIST', ftp_rawlist($ftp, '.')))) !== count($want)) {
    must('LIST', false);
}
$age = time() - must('MDTM', ftp_mdtm($ftp, 'one'));
if (abs($age) > 600) {
    must("MDTM ($age s off)", false);
}

same('MKD', [must('MKD', ftp_mkdir($ftp, 'passing directory'))], ["/$opt[dir]/passing directory"]);
must('RNTO', ftp_rename($ftp, 'one', 'passing directory/two'));
same('NLST of a directory', array_map('last', must('NLST', ftp_nlist($ftp, 'passing directory'))), ['two']);
must('RNTO', ftp_rename($ftp, 'passing directory/two', 'one'));
same('NLST of an empty directory', must('NLST', ftp_nlist($ftp, 'passing directory')), []);
must('RMD', ftp_rmdir($ftp, 'passing directory'));
must('STOR passing', ftp_put($ftp, 'passing', "$up/text.txt", FTP_ASCII));
same('SITE CHMOD', [must('SITE CHMOD', ftp_chmod($ftp, 0640, 'passing'))], [0640]);
if (!preg_grep('/^-rw-r-----.* passing$/', must('LIST', ftp_rawlist($ftp, '.')))) {
    must('LIST after SITE CHMOD', false);
}
must('DELE', ftp_delete($ftp, 'passing'));
same('SIZE of nothing', [ftp_size($ftp, 'passing')], [-1]);

// Both directions go on from the half, piece by piece.
$go = ftp_nb_put($ftp, 'half.bin', "$up/$opt[big]", FTP_BINARY, FTP_AUTORESUME);
while ($go === FTP_MOREDATA) {
    $go = ftp_nb_continue($ftp);
}
same('resumed upload', [$go], [FTP_FINISHED]);
$half = "$opt[local]/half-$opt[dir].bin";
must('REST', ftp_get($ftp, $half, $opt['big'], FTP_BINARY, FTP_AUTORESUME));

same('NOOP', array_map(fn ($l) => substr($l, 0, 3), ftp_raw($ftp, 'NOOP')), ['200']);
must('QUIT', ftp_close($ftp));
