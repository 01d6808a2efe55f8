package server

import (
	"context"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// dnsScheme marks an upstream whose host name stands for one SGLang at each of its
// addresses, as that of a headless Kubernetes Service does.
const dnsScheme = "dns+"

// dnsName is the URL of an upstream that is to be found by name: dns+http://name:port.
func dnsName(upstream string) (base string, ok bool) { return strings.CutPrefix(upstream, dnsScheme) }

// lookUpEvery is how often a name is looked up: DNS has no way to tell of a change.
const lookUpEvery = 5 * time.Second

// follow keeps one backend for each address of the host of base until ctx ends.
func (p *pool) follow(ctx context.Context, base string) {
	ticker := time.NewTicker(lookUpEvery)
	defer ticker.Stop()
	var known []string
	told := false
	for {
		switch found, err := addresses(ctx, base); {
		case ctx.Err() != nil:
			return
		case err != nil: // who was there is asked directly whether it still is
			if !told {
				p.log.Warn("the upstream's name can't be looked up", "upstream", base, "error", err)
			}
			told = true
		default:
			told = false
			p.meetAll(known, found)
			known = found
		}
		if len(known) == 0 {
			p.changed()
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// meetAll lets those enter that are new, and then those leave that have gone.
func (p *pool) meetAll(known, found []string) {
	for _, u := range found {
		if !slices.Contains(known, u) {
			p.enter(u)
		}
	}
	for _, u := range known {
		if !slices.Contains(found, u) {
			p.leave(u)
		}
	}
}

// addresses are the URLs of base with each address in the place of its host.
func addresses(ctx context.Context, base string) ([]string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpEvery)
	defer cancel()
	hosts, err := net.DefaultResolver.LookupHost(ctx, u.Hostname())
	if err != nil {
		return nil, err
	}
	slices.Sort(hosts)
	var all []string
	for _, host := range slices.Compact(hosts) {
		at := *u
		at.Host = net.JoinHostPort(host, u.Port())
		all = append(all, at.String())
	}
	return all, nil
}
