package osfs

// A todo is the directories that a walk has still to go into, depth first. It keeps
// names and no paths: a tree of long paths would else take many times as much
// memory as its names do.
type todo struct{ levels []level }

type level struct {
	rel  string
	dirs []string // below rel
}

// newTodo begins at the root, which next returns first.
func newTodo() *todo { return &todo{levels: []level{{"", []string{"."}}}} }

// next takes the next directory, as a path relative to the root.
func (t *todo) next() (rel string, ok bool) {
	for len(t.levels) > 0 {
		at := &t.levels[len(t.levels)-1]
		n := len(at.dirs)
		if n == 0 {
			t.levels = t.levels[:len(t.levels)-1]
			continue
		}
		name := at.dirs[n-1]
		at.dirs = at.dirs[:n-1]
		if at.rel == "" {
			return name, true
		}
		return at.rel + "/" + name, true
	}
	return "", false
}

// below adds the directories in rel, the one that next has returned last.
func (t *todo) below(rel string, dirs []string) {
	if len(dirs) > 0 {
		t.levels = append(t.levels, level{rel, dirs})
	}
}
