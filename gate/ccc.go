package gate

// Cleared tells that the connection has gone back to clear text (CCC) and that
// its login is over: a new one begins as on any connection without TLS. A
// Session that stands is not touched.
func (v *Visit) Cleared() {
	v.mu.Lock()
	v.tls, v.chain = false, nil
	v.mu.Unlock()
}
