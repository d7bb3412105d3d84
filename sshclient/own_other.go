//go:build !unix

package sshclient

import (
	"io/fs"
	"os/exec"
)

func own(*exec.Cmd) {}

func kill(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

func private(fs.FileInfo, fs.FileMode) bool { return true }

func exposed(fs.FileInfo) bool { return false }
