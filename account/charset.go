package account

import (
	"fmt"
	"strings"

	"golang.org/x/text/encoding/htmlindex"
)

// CheckCharset says what is wrong with the name of a character set, nil when it
// is known: those of the WHATWG Encoding Standard that ASCII is a part of.
func CheckCharset(name string) error {
	e, err := htmlindex.Get(name)
	if err != nil {
		return fmt.Errorf("%q is no character set that is known; write windows-1252, iso-8859-15, gbk, shift_jis or another of its standard names", name)
	}
	if n, err := htmlindex.Name(e); err != nil || strings.HasPrefix(n, "utf-16") || n == "iso-2022-jp" || n == "replacement" || n == "x-user-defined" {
		return fmt.Errorf("%q can't be used for commands: ASCII is no part of it", name)
	}
	return nil
}
