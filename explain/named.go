package explain

import (
	"maps"
	"slices"
	"strings"

	"dray/fault"
	"dray/spelling"
)

// aliases are words that lists of such failures have for what has another id here.
var aliases = map[string]fault.ID{
	"pasv-private": fault.IDPasvAddress, "pasv-zero": fault.IDPasvAddress, "tls-resume": fault.IDTLSReuse, "tls-reuse-required": fault.IDTLSReuse,
	"passive-pool": fault.IDPool, "tcp-refused": fault.IDRefused, "tcp-timeout": fault.IDFiltered, "bad-login": fault.IDAuth,
	"pasv-blocked": fault.IDDataBlocked, "passive-blocked": fault.IDDataBlocked, "passive-rejected": fault.IDRejected, "wrong-door-ssh": fault.IDWrongProto,
	"implicit-explicit": fault.IDImplicitTLS, "too-many": fault.IDBusy, "cert-untrusted": fault.IDUnknownCA, "write-denied": fault.IDPerm,
	"quota-space": fault.IDQuota, "no-subsystem": fault.IDNoSFTP, "idle-control": fault.IDIdle, "data-peer-mismatch": fault.IDDataPeer,
}

// Named returns the entry of a word that a person has typed: an id, in brackets or not,
// or another word for one.
func Named(word string) (Entry, bool) {
	word = strings.ToLower(strings.Trim(strings.TrimSpace(word), "[]"))
	if e, ok := For(fault.ID(word)); ok {
		return e, true
	}
	return For(aliases[word])
}

// Close are the ids that a mistyped word may mean: those that are a letter or two
// away, else those that begin with it; three at most.
func Close(word string) []fault.ID {
	word = strings.ToLower(strings.Trim(strings.TrimSpace(word), "[]"))
	if word == "" {
		return nil
	}
	var near, begin []fault.ID
	for _, e := range table {
		switch {
		case spelling.Distance(word, string(e.ID)) <= min(2, len(word)/3):
			near = append(near, e.ID)
		case len(word) > 2 && strings.HasPrefix(string(e.ID), word):
			begin = append(begin, e.ID)
		}
	}
	for _, other := range slices.Sorted(maps.Keys(aliases)) {
		if id := aliases[other]; spelling.Distance(word, other) <= min(2, len(word)/3) && !slices.Contains(near, id) {
			near = append(near, id)
		}
	}
	if near == nil {
		near = begin
	}
	return near[:min(3, len(near))]
}
