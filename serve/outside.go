package serve

import (
	"errors"

	"dray/certs"
	"dray/config"
	"dray/ftpserver"
)

// Outside is what the check of a configuration needs of others: certificates and
// the commands there are.
func Outside() config.Outside {
	return config.Outside{Certificate: checkCertificate, Commands: ftpserver.Commands()}
}

func checkCertificate(file, key string) (func(string) bool, []config.Problem) {
	cert, err := certs.Load(file, key)
	var wrong []config.Problem
	if err != nil {
		p := config.Problem{What: err.Error(), Do: "name a pair that belongs together and is in force"}
		var ce *certs.Error
		if errors.As(err, &ce) {
			p = config.Problem{What: ce.File + ": " + ce.Text, Do: ce.Do}
			if ce.File == key && key != file {
				p.Field = "key"
			}
		}
		wrong = append(wrong, p)
	}
	if cert == nil {
		return nil, wrong
	}
	for _, p := range cert.Problems() {
		wrong = append(wrong, config.Problem{What: p, Do: "clients may refuse it", Warning: true})
	}
	return func(host string) bool { return cert.Leaf.VerifyHostname(host) == nil }, wrong
}
