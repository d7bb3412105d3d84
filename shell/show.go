package shell

import (
	"regexp"
	"strings"

	"dray/ftp"
	"dray/screen"
)

// What an Entry may tell.
const (
	knownType = ftp.KnownType
	knownSize = ftp.KnownSize
	knownTime = ftp.KnownTime
	knownMode = ftp.KnownMode
)

// shown is a name as it is written.
func (c *call) shown(name string) string { return screen.Name(name, c.sh.opt.Terminal) }

var (
	secretURL  = regexp.MustCompile(`:.*@`) // in a line without its ://
	secretUser = regexp.MustCompile(`\s-[a-zA-Z]*u\s*["']?[^\s,:]+[,:]|--user`)
	secretRaw  = regexp.MustCompile(`(?i)\b(pass|acct)\b`)
)

// Secret tells whether a line may hold a password: then it is neither kept nor told.
func Secret(line string) bool {
	return secretURL.MatchString(strings.ReplaceAll(line, "://", "")) || secretUser.MatchString(line) || secretRaw.MatchString(line)
}

// masked is a line without what may be a password.
func masked(line string) string {
	if !Secret(line) {
		return line
	}
	verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	if Secret(verb) {
		verb = ""
	}
	return strings.TrimSpace(verb + " [hidden]")
}
