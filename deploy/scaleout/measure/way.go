package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/balancer/ringhash"           // for consistent-hash.json
	_ "google.golang.org/grpc/balancer/weightedroundrobin" // for weighted.json
	_ "google.golang.org/grpc/health"                      // for healthCheckConfig

	"paceline/deploy/scaleout"
	"paceline/deploy/scaleout/pods"
	"paceline/sglang/sim"
)

// way is one of spreading prompts over SGLangs.
type way struct {
	name   string
	config string // the service configuration's name; empty takes that of one address
	one    bool   // one proxy with all SGLangs behind it
	envoy  bool
}

// ways are all, the plain one first.
func ways(envoy string) []way {
	all := []way{
		{name: "round robin", config: "round-robin"},
		{name: "weighted", config: "weighted"},
		{name: "consistent hash", config: "consistent-hash"},
		{name: "one proxy", one: true},
	}
	if envoy != "" {
		all = append(all, way{name: "Envoy", envoy: true})
	}
	return all
}

// shape is the pods of one run.
type shape struct {
	servers int
	kv      int  // tokens that each SGLang's cache holds; 0: as much as an H100
	uneven  bool // the last SGLang is four times slower
	callers int
}

// slowness is how many times slower the last pod of an uneven shape is.
const slowness = 4

// measure runs a workload over fresh pods.
func (w way) measure(ctx context.Context, o options, s shape, load workload) (m measured, err error) {
	set, err := w.start(ctx, o, s)
	if err != nil {
		return measured{}, err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	conn, closeConn, err := w.dial(ctx, o, set)
	if err != nil {
		return measured{}, err
	}
	defer func() { err = errors.Join(err, closeConn()) }()
	m, err = run(ctx, set, conn, load, s.callers, o.speed)
	if err != nil {
		return m, fmt.Errorf("%s: %w", w.name, err)
	}
	return m, nil
}

func (w way) start(ctx context.Context, o options, s shape) (*pods.Set, error) {
	profile, err := sim.ProfileNamed(o.profile)
	if err != nil {
		return nil, err
	}
	if s.kv > 0 {
		profile.KVCacheTokens = s.kv
	}
	n := s.servers
	if w.one {
		n = 1
	}
	return pods.Start(ctx, n, pods.Options{Profile: profile, Speed: o.speed, Change: func(pod int, p *pods.PodOptions) {
		settings := &p.Proxy.Settings
		settings.MaxWait = time.Duration(float64(settings.MaxWait) / o.speed)
		settings.MaxAge = time.Duration(float64(settings.MaxAge) / o.speed)
		p.Proxy.CallLoadReports = w.config == "weighted"
		if w.one {
			p.Servers = s.servers
		}
		if s.uneven {
			p.Slow = func(server int) float64 {
				if pod+server == s.servers-1 {
					return slowness
				}
				return 1
			}
		}
	}})
}

func (w way) dial(ctx context.Context, o options, set *pods.Set) (*grpc.ClientConn, func() error, error) {
	if w.envoy {
		config, err := scaleout.Files.ReadFile("envoy.yaml")
		if err != nil {
			return nil, nil, err
		}
		e, err := pods.StartEnvoy(ctx, o.envoy, config, set)
		if err != nil {
			return nil, nil, err
		}
		conn, err := e.Dial()
		if err != nil {
			return nil, nil, errors.Join(err, e.Stop())
		}
		return conn, func() error { return errors.Join(conn.Close(), e.Stop()) }, nil
	}
	config := "{}"
	if w.config != "" {
		var err error
		if config, err = scaleout.ServiceConfig(w.config); err != nil {
			return nil, nil, err
		}
	}
	conn, err := set.Dial(config)
	if err != nil {
		return nil, nil, err
	}
	return conn, conn.Close, nil
}
