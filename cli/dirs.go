package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A dir is what ensureDir has found or made.
type dir struct {
	was    fs.FileInfo // of what stood at the name, or of the link there; nil: it was made
	given  error       // why a new one could not be given to its user
	remove func()      // takes a new one away, with those above it that were made for it, as far as they are empty and that is still allowed
}

// A plantedError is a link that root does not follow.
type plantedError struct{ name string }

func (e *plantedError) Error() string {
	return fmt.Sprintf("%s is a link, and others than root could have put it there", e.name)
}

// ensureDir makes the directory name with mode when it is missing, those above it
// with 0755, and gives it to uid and gid unless uid is negative. What is there
// already stays as it is. It is safe for root where others can plant links.
func ensureDir(name string, mode fs.FileMode, uid, gid int) (dir, error) {
	if os.Geteuid() == 0 {
		return safeDir(name, mode, uid, gid)
	}
	return plainDir(name, mode, uid, gid)
}

// plainDir is ensureDir where the names are those of whoever runs this.
func plainDir(name string, mode fs.FileMode, uid, gid int) (dir, error) {
	fi, err := os.Lstat(name)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return dir{was: fi}, err
	}
	made := []string{name}
	for at := filepath.Dir(name); ; at = filepath.Dir(at) {
		if _, err := os.Lstat(at); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made = append(made, at)
	}
	d := dir{remove: func() {
		for _, at := range made {
			_ = os.Remove(at)
		}
	}}
	err = os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.Mkdir(name, mode)
	}
	if err != nil {
		d.remove()
		return dir{}, err
	}
	if uid >= 0 && uid != os.Geteuid() {
		d.given = os.Lchown(name, uid, gid)
	}
	return d, nil
}

// newDir makes a directory that is missing, and gives it to uid and gid unless uid
// is negative.
func newDir(name string, mode fs.FileMode, uid, gid int) error {
	d, err := ensureDir(name, mode, uid, gid)
	if err == nil && d.was != nil && !d.was.IsDir() {
		err = errors.New("a file, or a link that leads nowhere, has its name")
	}
	if err = errors.Join(err, d.given); err != nil {
		return fmt.Errorf("can't make %s: %w", name, err)
	}
	return nil
}
