//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// peers are the servers to compare with, and the Debian packages that they are
// in. As installs they conflict; unpacked they do not.
var peers = map[string][]string{
	"vsftpd":   {"vsftpd"},
	"proftpd":  {"proftpd-core", "proftpd-mod-crypto"},
	"pureftpd": {"pure-ftpd", "pure-ftpd-common"},
	"openssh":  {"openssh-server", "openssh-sftp-server"},
}

// fetchPeer unpacks a peer into dir, unless that was done before. Libraries that
// are not installed here are unpacked beside it.
func fetchPeer(name, dir string) error {
	done := filepath.Join(dir, ".whole")
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	debs := filepath.Join(dir, "deb")
	if err := os.MkdirAll(debs, 0o755); err != nil {
		return err
	}
	packages := peers[name]
	list, err := exec.Command("apt-get", append([]string{"install", "-y", "--no-install-recommends", "--print-uris"}, packages...)...).Output()
	if err != nil {
		return fmt.Errorf("%s: apt-get knows no package %s; try apt-get update", name, strings.Join(packages, ", "))
	}
	for line := range strings.Lines(string(list)) {
		if f := strings.Fields(line); strings.HasPrefix(line, "'") && len(f) > 1 && strings.HasPrefix(f[1], "lib") {
			library, _, _ := strings.Cut(f[1], "_")
			packages = append(packages, library)
		}
	}
	get := exec.Command("apt-get", append([]string{"download", "-q", "-o", "Acquire::Retries=3"}, packages...)...)
	get.Dir = debs
	if out, err := get.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: apt-get download: %w\n%s", name, err, out)
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range files {
		if out, err := exec.Command("dpkg", "-x", deb, dir).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: dpkg -x: %w\n%s", name, err, out)
		}
	}
	return os.WriteFile(done, nil, 0o644)
}

// libraries are the folders of an unpacked peer where the loader is to look.
func libraries(dir string) string {
	found, _ := filepath.Glob(filepath.Join(dir, "usr/lib/*-linux-*")) // a constant pattern
	return strings.Join(append(found, filepath.Join(dir, "usr/lib")), ":")
}
