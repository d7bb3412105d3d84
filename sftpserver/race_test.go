//go:build race

package sftpserver

func init() { raced = true }
