package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The pages in doc are those that the code would write.
func TestPagesAreUpToDate(t *testing.T) {
	for name, want := range pages() {
		got, err := os.ReadFile(filepath.Join("..", "..", "doc", name))
		if err != nil || string(got) != want {
			t.Errorf("doc/%s differs from the code (%v): run go run ./cmd/gendoc", name, err)
		}
	}
}
