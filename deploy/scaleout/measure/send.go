package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"paceline/deploy/scaleout"
	"paceline/deploy/scaleout/pods"
	pb "paceline/proto/paceline/v1"
)

// measured is one run.
type measured struct {
	prompts  int
	seconds  float64 // simulated
	computed int     // tokens, by the SGLangs' own count
	cpu      float64 // cores that this process used
	busiest  float64 // prompts of the pod that took the most, over the mean
}

func (m measured) rate() float64 { return float64(m.prompts) / m.seconds }

// run sends a workload over a connection, in a closed loop of so many callers.
func run(ctx context.Context, set *pods.Set, conn *grpc.ClientConn, w workload, callers int, speed float64) (measured, error) {
	client := pb.NewPrefillServiceClient(conn)
	err := set.Reach(ctx, func(ctx context.Context, i int) error {
		_, err := client.Prefill(withKey(ctx, "reach "+time.Now().String()), &pb.PrefillRequest{TokenIds: []int32{int32(i % 150_000), 1}}, grpc.WaitForReady(true))
		return err
	})
	if err != nil {
		return measured{}, err
	}
	var (
		next    atomic.Int64
		sending sync.WaitGroup
		m       measured
		before  = totals(set)
		began   = time.Now()
		spent   = cpuSeconds()
		failed  = make(chan error, callers)
	)
	for range callers {
		sending.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(w.conversations); i = next.Add(1) - 1 {
				if err := w.conversations[i].send(ctx, client); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	sending.Wait()
	real := time.Since(began).Seconds()
	close(failed)
	var errs []error
	for err := range failed {
		errs = append(errs, err)
	}
	after := totals(set)
	for _, c := range w.conversations {
		m.prompts += len(c.prompts)
	}
	m.seconds, m.cpu = real*speed, (cpuSeconds()-spent)/real
	var sum, most int64
	for i := range after {
		m.computed += int(after[i].computed - before[i].computed)
		n := after[i].prompts - before[i].prompts
		sum, most = sum+n, max(most, n)
	}
	m.busiest = float64(most) * float64(len(after)) / float64(sum)
	return m, errors.Join(errs...)
}

func (c conversation) send(ctx context.Context, client pb.PrefillServiceClient) error {
	ctx = withKey(ctx, c.key)
	for _, p := range c.prompts {
		if _, err := client.Prefill(ctx, &pb.PrefillRequest{TokenIds: p}); err != nil {
			return err
		}
	}
	return nil
}

func withKey(ctx context.Context, key string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, scaleout.KeyHeader, key)
}

// total is what the SGLangs of one pod have done.
type total struct{ prompts, computed int64 }

func totals(set *pods.Set) []total {
	var out []total
	for _, p := range set.Pods() {
		s := p.Stats()
		out = append(out, total{s.Requests, s.UncachedTokens})
	}
	return out
}
