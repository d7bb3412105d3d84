// Package spelling finds the word that somebody has mistyped.
package spelling

import "strings"

// Nearest is the word that s was probably meant to be, "" for none: at most two
// letters off, fewer in short words. Case, and - for _, do not count.
func Nearest(s string, words []string) string {
	plain := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }
	best, at := "", 3
	for _, word := range words {
		a, b := plain(s), plain(word)
		if d := Distance(a, b); d < at && d*2 < max(len(a), len(b)) {
			best, at = word, d
		}
	}
	return best
}

// Distance counts the bytes to insert, remove, change or swap with their neighbour, to
// get from a to b; more than two are told as three.
func Distance(a, b string) int {
	const far = 3
	if len(a)-len(b) >= far || len(b)-len(a) >= far {
		return far
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], far)
}
