//go:build !race

package explain

import (
	"strings"
	"testing"
	"time"
)

// A log as large as is looked at takes no time that anybody notices.
func TestFindIsQuick(t *testing.T) {
	var log strings.Builder
	for log.Len() < maxText-4096 {
		for _, s := range said {
			log.WriteString(s.text + "\n")
		}
	}
	start := time.Now()
	Find(log.String())
	Find(strings.Repeat("connect certificate timed out 227 5,5,5,5 ", maxText/42))
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}
