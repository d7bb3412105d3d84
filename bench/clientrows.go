//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// clientSizes are how much work the rows about clients are.
type clientSizes struct {
	big     int64 // bytes of the large file
	many    int   // files of 4 KiB in one directory
	dirs    int   // of the tree, on the first level; 99 times as many below them
	below   int
	farMany int             // files of 1 KiB over the line
	farBig  int64           // bytes of the large file over the line
	trips   []time.Duration // round trips of the line, as the rows name them

	// Connections that other clients are told to have. Near, more than four made all
	// of them slower on two processors. Over the line more would be faster still: but
	// OpenSSH's server begins to refuse at ten logins at once (MaxStartups), and FTP
	// servers as packaged allow few for one address.
	near, far int
}

var (
	usualClients = clientSizes{
		big: 1 << 30, many: 10_000, dirs: 50, below: 99, farMany: 100, farBig: 20 << 20,
		trips: []time.Duration{50 * time.Millisecond, 100 * time.Millisecond},
		near:  16, far: 16,
	}
	smokeClients = clientSizes{
		big: 2 << 20, many: 12, dirs: 2, below: 3, farMany: 4, farBig: 64 << 10,
		trips: []time.Duration{time.Millisecond, 2 * time.Millisecond},
		near:  2, far: 2,
	}
)

func (z clientSizes) times(n int) clientSizes {
	z.big, z.many, z.dirs, z.farMany, z.farBig = z.big*int64(n), z.many*n, z.dirs*n, z.farMany*n, z.farBig*int64(n)
	return z
}

// A proto is what a row speaks.
type proto string

const (
	overFTP  proto = "ftp"
	overFTPS proto = "ftps" // AUTH TLS, data too
	overSFTP proto = "sftp"
)

// A work is what a client is asked to do with the source of a row.
type work int

const (
	getOne work = iota
	putOne
	getTree
	putTree
	mirrorTree // of a server's tree that is here already
)

func (w work) uploads() bool { return w == putOne || w == putTree }

// A clientRow is one kind of work over one protocol. Every server that speaks it
// does it with every client that can.
type clientRow struct {
	name, what string
	proto      proto
	work       work
	source     string // in the home: a file, or a directory with all that is in it
	trip       int    // which round trip of the line, from 1; 0: loopback
	figures    []figure
}

// Figures of clients.
const (
	wall    = "wall s"
	perGiB  = "CPU s/GiB"
	cpuOnly = "CPU s"
)

// wallFigure is the time with its target. Where that is 1, a row whose single
// rounds lie on both sides of it is as fast.
func wallFigure(target float64) figure { return figure{name: wall, target: target} }

// The files and directories in the home, by what they are for.
const (
	bigSource     = "big-1"
	manySource    = "small"
	treeSource    = "tree"
	farManySource = "few"
	farBigSource  = "far-big"
)

func clientRows() []clientRow {
	var list []clientRow
	for _, p := range []proto{overFTP, overFTPS, overSFTP} {
		cpu := []figure{wallFigure(1), {name: perGiB}}
		each := []figure{wallFigure(1), {name: perItem}}
		list = append(list,
			clientRow{"cdl-", "large file, download", p, getOne, bigSource, 0, cpu},
			clientRow{"cul-", "large file, upload", p, putOne, bigSource, 0, cpu},
			clientRow{"cfg-", "directory of files of 4 KiB, download", p, getTree, manySource, 0, each},
			clientRow{"cfp-", "directory of files of 4 KiB, upload", p, putTree, manySource, 0, each},
		)
		if p == overFTPS {
			continue
		}
		list = append(list,
			clientRow{"ctg-", "tree of directories with a file each, download", p, getTree, treeSource, 0, each},
			clientRow{"ctp-", "tree of directories with a file each, upload", p, putTree, treeSource, 0, each},
			clientRow{"cmn-", "mirror of a tree, with nothing to do", p, mirrorTree, treeSource, 0, []figure{wallFigure(1), {name: cpuOnly}}},
		)
	}
	for i, ms := range []int{50, 100} {
		for _, p := range []proto{overFTP, overSFTP} {
			few := wallFigure(1)
			if ms == 100 {
				few.target = map[proto]float64{overFTP: 1.0 / 2, overSFTP: 1.0 / 3}[p]
			}
			cpu := []figure{wallFigure(1), {name: cpuOnly}}
			at := fmt.Sprintf(", %d ms round trip", ms)
			list = append(list,
				clientRow{fmt.Sprintf("c%dfg-", ms), "directory of files of 1 KiB, download" + at, p, getTree, farManySource, i + 1, []figure{few, {name: cpuOnly}}},
				clientRow{fmt.Sprintf("c%dfp-", ms), "directory of files of 1 KiB, upload" + at, p, putTree, farManySource, i + 1, cpu},
				clientRow{fmt.Sprintf("c%ddl-", ms), "file of 20 MiB, download" + at, p, getOne, farBigSource, i + 1, cpu},
				clientRow{fmt.Sprintf("c%dul-", ms), "file of 20 MiB, upload" + at, p, putOne, farBigSource, i + 1, cpu},
			)
		}
	}
	for i := range list {
		r := &list[i]
		r.name += string(r.proto)
		r.what += ", " + strings.ToUpper(string(r.proto))
	}
	return list
}

// servers are those that speak what the row is about. sshd is as Debian sets it
// up, with the program sftp-server.
func (r clientRow) servers() []string {
	if r.proto == overSFTP {
		return []string{"dray", "sshd-ext"}
	}
	return []string{"dray", "vsftpd"}
}

// chooseClients takes names and patterns of rows.
func chooseClients(names string) ([]clientRow, error) {
	all := clientRows()
	if names == "" {
		return all, nil
	}
	var wanted []clientRow
	for name := range strings.SplitSeq(names, ",") {
		found := false
		for _, r := range all {
			match, err := filepath.Match(name, r.name)
			if err != nil {
				return nil, fmt.Errorf("rows %q: %w", name, err)
			}
			found = found || match
			if match && !slices.ContainsFunc(wanted, func(w clientRow) bool { return w.name == r.name }) {
				wanted = append(wanted, r)
			}
		}
		if !found {
			return nil, fmt.Errorf("no row of clients is called %q; -clients -rows help lists them", name)
		}
	}
	return wanted, nil
}

// fillClients makes the sources beside those that fill makes. Their times are of
// an hour ago, to the minute, so that every form of a listing can tell them.
func (b *bench) fillClients(z clientSizes) error {
	piece := make([]byte, 1<<20)
	for i := range piece {
		piece[i] = byte(i*13>>2 ^ i>>9)
	}
	file := func(name string, size int64) error {
		f, err := os.Create(filepath.Join(b.home, name))
		if err != nil {
			return err
		}
		for left := size; left > 0 && err == nil; left -= int64(len(piece)) {
			_, err = f.Write(piece[:min(left, int64(len(piece)))])
		}
		return errors.Join(err, f.Close())
	}
	dir := func(name string) error { return os.MkdirAll(filepath.Join(b.home, name), 0o755) }
	err := errors.Join(dir(farManySource), dir(treeSource), file(farBigSource, z.farBig))
	for i := range z.farMany {
		err = errors.Join(err, file(fmt.Sprintf("%s/%d", farManySource, i), 1<<10))
	}
	for i := range z.dirs {
		for k := range z.below + 1 { // the first one is the directory above the others
			name := fmt.Sprintf("%s/%02d", treeSource, i)
			if k > 0 {
				name += fmt.Sprintf("/%02d", k)
			}
			err = errors.Join(err, dir(name), file(name+"/data", int64(100+k)))
		}
	}
	then := time.Now().Add(-time.Hour).Truncate(time.Minute)
	return errors.Join(err, filepath.WalkDir(b.home, func(name string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chtimes(name, then, then))
	}))
}

// made is how many files and bytes a source has.
func (b *bench) made(source string) (files int, bytes int64, err error) {
	err = filepath.WalkDir(filepath.Join(b.home, source), func(_ string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			files++
			bytes += info.Size()
		}
		return err
	})
	return files, bytes, err
}
