package cli

import (
	"net/netip"
	"slices"

	"dray/admin"
	"dray/config"
)

// runs asks the server that runs by c what it is; false: none answers, or one with
// another configuration.
func runs(c *config.Config) (admin.Info, bool) {
	if c.AdminSocket() == "" {
		return admin.Info{}, false
	}
	conn, err := admin.Dial(c.AdminSocket())
	if err != nil {
		return admin.Info{}, false
	}
	defer conn.Close()
	info, err := conn.Info()
	return info, err == nil && (info.Config == c.File || info.Config != "" && c.File != "" && sameFile(info.Config, c.File))
}

// asItRuns is c with the addresses that the server that runs has taken for listeners
// that name none. Where c is of no file, its listeners and ranges are all those of the
// server.
func asItRuns(c config.Config, info admin.Info) config.Config {
	listeners := c.Listeners
	if c.File == "" {
		listeners = config.Quick{}.Config().Listeners
	}
	c.Listeners = nil
	for _, l := range listeners {
		var at []string
		for _, s := range info.Listeners {
			if s.Name != l.Name {
				continue
			}
			at = append(at, s.Address)
			if c.File == "" {
				l.Passive = s.Passive
			}
		}
		switch {
		case c.File == "" && at == nil:
			continue
		case c.File == "" || len(l.Listen) == 0:
			l.Listen = at
		}
		c.Listeners = append(c.Listeners, l)
	}
	return c
}

// settled is c with the ports of the server that runs by it, where one answers.
func settled(c config.Config) config.Config {
	if info, ok := runs(&c); ok {
		return asItRuns(c, info)
	}
	return c
}

// unnamed is c without the addresses that its listeners take by themselves, so that
// what they could not have can be told.
func unnamed(c config.Config) config.Config {
	c.Listeners = slices.Clone(c.Listeners)
	for i, l := range c.Listeners {
		own := !slices.ContainsFunc(l.Listen, func(at string) bool {
			a, err := netip.ParseAddrPort(at)
			return err != nil || !a.Addr().IsUnspecified() || !slices.Contains(config.Ports(l.Protocol), a.Port())
		})
		if own {
			c.Listeners[i].Listen = nil
		}
	}
	return c
}
