package serve

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestACalmCollectsWhatABusyTimeLeftAndNothingTwice(t *testing.T) { // not beside others, which leave garbage too
	var c calm
	c.clean()
	if c.clean() {
		t.Error("it collects although nothing has happened")
	}
	// A collection in the middle would find them alive, and what is garbage only since
	// then nobody knows of before the next.
	percent := debug.SetGCPercent(-1)
	defer debug.SetGCPercent(percent)
	keep := make([][]byte, 0, 64)
	for range 64 {
		keep = append(keep, make([]byte, 1<<20))
	}
	runtime.KeepAlive(keep)
	keep = nil
	before, _ := waste()
	if !c.clean() {
		t.Errorf("%d bytes are wasted, and it does not collect", before)
	}
	if after, _ := waste(); after > before-32<<20 {
		t.Errorf("%d bytes of waste before and %d behind", before, after)
	}
	if c.clean() {
		t.Error("it collects again")
	}
}

func TestACalmIsAwaitedOnce(t *testing.T) {
	var c calm
	for range 1000 {
		c.stir()
	}
	if !c.awaited.Load() {
		t.Fatal("nobody awaits the calm")
	}
	time.Sleep(calmAfter / 2)
	c.stir() // puts it off
	time.Sleep(calmAfter * 3 / 4)
	if !c.awaited.Load() {
		t.Error("it was calm although something happened")
	}
	for end := time.Now().Add(20 * time.Second); c.awaited.Load(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never gets calm")
		}
	}
}
