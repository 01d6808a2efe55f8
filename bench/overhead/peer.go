package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "paceline/proto/paceline/v1"
)

// contender is a batching process and how it is spoken to.
type contender struct {
	name string
	*child
	load func(ctx context.Context, done *atomic.Int64) error
}

// measurePeer compares the proxy with KServe's batcher before the same upstream:
// first one that answers at once, for the CPU time of a request; then one that
// takes 10 ms for a list, for throughput.
func measurePeer(ctx context.Context, o options) error {
	if o.peer == "" {
		return errors.New("-peer must name the binary of bench/kserve")
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	perCPU := func(r result) float64 { return 1 / r.cpu.Seconds() }
	if err := against(ctx, w, o, []int{o.inFlight}, "requests a CPU second", perCPU); err != nil {
		return err
	}
	o.delay, o.size = 10*time.Millisecond, 8
	if err := against(ctx, w, o, []int{1, 8}, "requests/s", func(r result) float64 { return r.rate }); err != nil {
		return err
	}
	return w.Flush()
}

// against measures KServe's batcher and the proxy with several numbers of batches
// in flight, over gRPC and over SGLang's own /generate.
func against(parent context.Context, w io.Writer, o options, inFlight []int, unit string, of func(result) float64) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	up, err := start(ctx, o, "upstream")
	if err != nil {
		return err
	}
	prompt := source(o.bytes)
	k, err := run(ctx, nil, o.peer, "-upstream", "http://"+up.addr, "-batch-size", fmt.Sprint(o.size), "-max-latency", fmt.Sprint(o.maxWait.Milliseconds()))
	if err != nil {
		return err
	}
	all := []contender{{"KServe's batcher", k, posts(o, "http://"+k.addr+"/v1/models/m:predict", func() any {
		return map[string]any{"instances": []any{map[string]any{"text": another(prompt)}}}
	})}}
	for _, n := range inFlight {
		o.inFlight = n
		p, err := start(ctx, o, "proxy", "-upstream", "http://"+up.addr, "-cpuprofile", o.profile)
		if err != nil {
			return err
		}
		conn, err := grpc.NewClient(p.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // nothing is left on it
		client := pb.NewPrefillServiceClient(conn)
		if err := ready(ctx, client); err != nil {
			return err
		}
		all = append(all,
			contender{fmt.Sprintf("gRPC, %d in flight", n), p, func(ctx context.Context, done *atomic.Int64) error {
				return unary(ctx, client, o, prompt, done)
			}},
			contender{fmt.Sprintf("/generate, %d in flight", n), p, posts(o, "http://"+p.http+"/generate", func() any {
				return map[string]any{"text": another(prompt), "sampling_params": map[string]any{"max_new_tokens": 0}}
			})})
	}
	results := make([][]result, len(all))
	for range o.repeats {
		for i, c := range all {
			r, err := watch(ctx, c.child, o, c.load)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			fmt.Fprintf(os.Stderr, "%-24s %7.0f requests/s  %5.1f us CPU each\n", c.name, r.rate, float64(r.cpu)/float64(time.Microsecond))
			results[i] = append(results[i], r)
		}
	}
	for i, c := range all[1:] {
		_, _ = fmt.Fprintf(w, "proxy / KServe's batcher, size %d, upstream %v, %s: %s\t%s\n", o.size, o.delay, c.name, unit, ratios(results[i+1], results[0], of))
	}
	return nil
}

// posts lets callers post one body after the other.
func posts(o options, url string, body func() any) func(context.Context, *atomic.Int64) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: o.callers}}
	return func(ctx context.Context, done *atomic.Int64) error {
		var wg sync.WaitGroup
		var failed atomic.Value
		for range o.callers {
			wg.Go(func() {
				for ctx.Err() == nil {
					if err := post(ctx, client, url, body()); err == nil {
						done.Add(1)
					} else if ctx.Err() == nil {
						failed.Store(err)
						return
					}
				}
			})
		}
		wg.Wait()
		client.CloseIdleConnections()
		err, _ := failed.Load().(error)
		return err
	}
}

func post(ctx context.Context, client *http.Client, url string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte("2000"))) {
		err = fmt.Errorf("%s: %.200s", res.Status, answer)
	}
	return errors.Join(err, res.Body.Close())
}
