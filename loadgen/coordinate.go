package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/shard"
	"paceline/loadgen/sweep"
	"paceline/loadgen/target"
	pb "paceline/proto/paceline/v1"
	"paceline/sglang"
)

const coordinateUsage = `loadgen coordinate lets several processes send one load: each begins a pass when all
are there, the settings are put in force and the caches flushed in between, and what
they measured becomes one report.

  go run ./loadgen coordinate -listen :7070 -shards 4 -target-admin proxy-a:9090,proxy-b:9090
  go run ./loadgen -shard 0/4 -coordinator http://host:7070 -target proxy-a:50051     and so on, to 3/4

All must be given the same flags of the load and of the sweep. A shard that fails, is
lost or is started again midway ends the sweep for all; -resume goes on with it once all
are started again. The port is for the shards alone: who reaches it can end the sweep.

Flags:
`

// coordination is what only loadgen coordinate is told.
type coordination struct {
	listen        string
	shards        int
	timeout, join time.Duration
}

const (
	defaultShardTimeout = time.Minute      // a garbage collection or a network's hiccup is no loss
	defaultJoinTimeout  = 10 * time.Minute // a cluster may fetch an image for each shard first
)

// runCoordinate is the subcommand coordinate.
func runCoordinate(ctx context.Context, args []string, w io.Writer) error {
	var o options
	var c coordination
	flags := func() *flag.FlagSet {
		f := o.flags("loadgen coordinate")
		f.StringVar(&c.listen, "listen", "127.0.0.1:7070", "`host:port` to listen at for the shards")
		f.IntVar(&c.shards, "shards", 0, "how many processes send the load")
		f.DurationVar(&c.timeout, "shard-timeout", defaultShardTimeout, "a shard that is not heard of for so long is lost")
		f.DurationVar(&c.join, "join-timeout", defaultJoinTimeout, "how long to wait for all shards at first")
		return f
	}
	switch err := o.parse(flags, args, coordinateUsage, w); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return inputError{err}
	}
	if err := c.validate(&o); err != nil {
		return inputError{err}
	}
	return coordinate(ctx, o, c)
}

// validate names what coordinate needs, or can't use.
func (c coordination) validate(o *options) error {
	switch {
	case c.shards < 1 || c.shards > shard.Most:
		return fmt.Errorf("-shards: must be from 1 to %d, got %d", shard.Most, c.shards)
	case c.timeout < time.Second || c.timeout > time.Hour:
		return fmt.Errorf("-shard-timeout: must be from 1s to 1h, got %v", c.timeout)
	case c.join <= 0:
		return fmt.Errorf("-join-timeout: must be above 0, got %v", c.join)
	case o.targetAdmin == "":
		return errors.New("-target-admin: must name the admin listener of each proxy, separated by commas")
	case o.target != "":
		return errors.New("-target: is for the shards; the coordinator sends nothing")
	case o.shard.Of > 0 || o.coordinator != "":
		return errors.New("-shard and -coordinator: are for the shards")
	case c.shards > o.concurrency:
		return fmt.Errorf("-concurrency: %d callers can't be split into %d shards", o.concurrency, c.shards)
	}
	checked := *o
	checked.target = "a shard's" // what remains is as for one process with a running proxy
	return checked.validate()
}

// coordinate does the coordinator's whole job.
func coordinate(ctx context.Context, o options, c coordination) error {
	plan, err := o.plan()
	if err != nil {
		return inputError{err}
	}
	out, err := makeSweepOutput(o)
	if err != nil {
		return inputError{err}
	}
	log, closeLog, err := openLog(out)
	if err != nil {
		return inputError{err}
	}
	defer closeLog()
	log.Info("start", "version", version(), "args", o.args, "shards", c.shards)
	proxies, status, err := dialAll(ctx, o)
	defer proxies.close()
	if err != nil {
		return orInterrupted(ctx, err)
	}
	if sim := status.GetUpstream().GetSimulator(); sim != nil && sim.GetSpeed() > 0 {
		plan.Speed = sim.GetSpeed()
	}
	counters, err := accounts(o)
	if err != nil {
		return inputError{err}
	}
	co := &shard.Coordinator{
		Plan: plan, Shards: c.shards, Facts: slices.Concat(o.facts, plan.Facts()), Timeout: c.timeout,
		Steer: func(ctx context.Context, p sweep.Pass) error {
			return sweep.Steer(ctx, plan, p, nil, proxies.list()...)
		},
		Account: func(ctx context.Context) func(context.Context, *report.Run) { return plan.Account(ctx, counters) },
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.listen)
	if err != nil {
		return inputError{fmt.Errorf("-listen: %w", err)}
	}
	stopServing := serve(l, co.Handler(), log)
	log.Info("waiting for shards", "address", l.Addr().String())
	fmt.Fprintf(os.Stderr, "waiting for %d shards at %s\n", c.shards, l.Addr())
	err = conduct(ctx, o, c, co, plan, proxies, status, out, log)
	stopServing()
	return err
}

// conduct waits for the shards, runs the sweep, tells them that it has ended, and writes
// the report.
func conduct(ctx context.Context, o options, c coordination, co *shard.Coordinator, plan sweep.Plan, proxies steered, status *pb.GetStatusResponse, out string, log *slog.Logger) error {
	joining, done := context.WithTimeout(ctx, c.join)
	source, env, prompts, err := co.Join(joining)
	done()
	if err != nil {
		co.End(orInterrupted(ctx, err))
		return orInterrupted(ctx, err)
	}
	r := newReport(o, plan, source, env, status)
	r.Merged = c.shards
	before := map[string]target.Settings{}
	for addr, proxy := range proxies {
		if before[addr], err = proxy.CurrentSettings(ctx); err != nil {
			co.End(orInterrupted(ctx, err))
			return orInterrupted(ctx, err)
		}
	}
	rec, err := openRecord(o, out, plan, sweep.Beginning{
		At: r.CreatedAt, Args: o.args, Before: before,
		Facts: slices.Concat(o.facts, plan.Facts(), prompts, serverFacts(r), []sweep.Fact{{Name: "-shards", Value: fmt.Sprint(c.shards)}}),
	})
	if err != nil {
		co.End(err)
		return err
	}
	defer rec.Close() //nolint:errcheck // each line is on the disk already
	r.Resumed = rec.held.Resumed
	announce(r, out)
	fmt.Fprint(os.Stderr, rec.resumedText())
	r.Runs, err = measure(ctx, co, proxies, rec, plan, newLine(os.Stderr, new(sweep.Progress)), log)
	if err != nil {
		co.End(orInterrupted(ctx, err))
	} else {
		co.End(nil)
	}
	return finish(ctx, o, r, out, err, log)
}

// dialAll connects to each proxy's admin listener and waits until all are ready; the
// status is the first one's. What it returns is to be closed also after an error.
func dialAll(ctx context.Context, o options) (proxies steered, first *pb.GetStatusResponse, err error) {
	proxies = steered{}
	for addr := range strings.SplitSeq(o.targetAdmin, ",") {
		if addr = strings.TrimSpace(addr); addr == "" || proxies[addr] != nil {
			continue
		}
		if proxies[addr], err = target.DialProxy("", addr, o.access); err != nil {
			delete(proxies, addr)
			return proxies, nil, inputError{err}
		}
		status, err := awaitReady(ctx, proxies[addr], addr)
		if err != nil {
			return proxies, nil, err
		}
		if first == nil {
			first = status
		}
	}
	if first == nil {
		return proxies, nil, inputError{errors.New("-target-admin: names no address")}
	}
	return proxies, first, nil
}

func (s steered) list() (all []*target.Proxy) {
	for _, proxy := range s {
		all = append(all, proxy)
	}
	return all
}

func (s steered) close() {
	for _, proxy := range s {
		_ = proxy.Close() // nothing is under way
	}
}

// accounts are those of SGLang that -sglang and -sglang-log lead to; nil without.
func accounts(o options) (sweep.Counters, error) {
	var c sweep.Counters
	if o.sglang != "" {
		key, err := readKey(o.sglangKeyFile)
		if err != nil {
			return nil, err
		}
		client, err := sglang.NewClient(o.sglang, sglang.Options{APIKey: key})
		if err != nil {
			return nil, fmt.Errorf("-sglang: %w", err)
		}
		c = sweep.ServerCounters{Client: client}
	}
	if o.sglangLog != "" {
		c = withLog(c, o.sglangLog)
	}
	return c, nil
}

// serve answers the shards until the returned function is called.
func serve(l net.Listener, h http.Handler, log *slog.Logger) (stop func()) {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the shards are served no longer", "error", err)
		}
	}()
	return func() {
		ctx, done := context.WithTimeout(context.Background(), 2*time.Second)
		defer done()
		if server.Shutdown(ctx) != nil {
			_ = server.Close() // a shard that does not let go is gone
		}
		<-ended
	}
}
