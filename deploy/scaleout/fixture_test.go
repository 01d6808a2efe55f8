package scaleout

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/balancer/ringhash"           // for consistent-hash.json
	_ "google.golang.org/grpc/balancer/weightedroundrobin" // for weighted.json
	_ "google.golang.org/grpc/health"                      // for healthCheckConfig
	"google.golang.org/grpc/metadata"

	"paceline/deploy/scaleout/pods"
	pb "paceline/proto/paceline/v1"
)

// patience bounds every wait of the tests; none of them needs it.
const patience = time.Minute

// speed is that of the simulators: a prompt of few tokens takes some 0.2 ms.
const speed = 50

func startPods(t *testing.T, n int, o pods.Options) *pods.Set {
	t.Helper()
	if o.Speed == 0 {
		o.Speed = speed
	}
	set, err := pods.Start(t.Context(), n, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
	return set
}

// dial connects with a service configuration of this folder.
func dial(t *testing.T, set *pods.Set, name string) pb.PrefillServiceClient {
	t.Helper()
	config, err := ServiceConfig(name)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := set.Dial(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return pb.NewPrefillServiceClient(conn)
}

// prompt is one of few tokens, unlike the others.
func prompt(i int) *pb.PrefillRequest {
	return &pb.PrefillRequest{TokenIds: []int32{int32(i % 100_000), int32(i / 100_000), 7, 8}}
}

// withKey is ctx with a key for consistent hashing.
func withKey(ctx context.Context, key string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, KeyHeader, key)
}

// requests is how many prompts each SGLang has taken so far.
func requests(all []*pods.Pod) []int {
	out := make([]int, len(all))
	for i, p := range all {
		out[i] = int(p.Stats().Requests)
	}
	return out
}

// since is what was added.
func since(before, after []int) []int {
	out := make([]int, len(after))
	for i := range after {
		out[i] = after[i] - before[i]
	}
	return out
}

// reachAll sends until the client knows all pods.
func reachAll(t *testing.T, set *pods.Set, client pb.PrefillServiceClient) {
	t.Helper()
	err := set.Reach(t.Context(), func(ctx context.Context, i int) error {
		_, err := client.Prefill(withKey(ctx, fmt.Sprint("reach ", i)), prompt(i), grpc.WaitForReady(true))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// traffic is callers that send one prompt after the other until they are stopped.
type traffic struct {
	answered atomic.Int64

	mu       sync.Mutex
	failures []error

	stop func() // and waits
}

func (f *traffic) failed() []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failures
}

func send(t *testing.T, client pb.PrefillServiceClient, callers int) *traffic {
	f := &traffic{}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	var (
		sending sync.WaitGroup
		enough  atomic.Bool
		next    atomic.Int64
	)
	for range callers {
		sending.Go(func() {
			for !enough.Load() {
				i := int(next.Add(1))
				if _, err := client.Prefill(withKey(ctx, fmt.Sprint(i%97)), prompt(i)); err != nil {
					f.mu.Lock()
					f.failures = append(f.failures, err)
					f.mu.Unlock()
					continue
				}
				f.answered.Add(1)
			}
		})
	}
	f.stop = sync.OnceFunc(func() { enough.Store(true); sending.Wait(); cancel() })
	t.Cleanup(f.stop)
	return f
}

// more waits until so many more prompts were answered.
func (f *traffic) more(t *testing.T, n int64) {
	t.Helper()
	end := time.Now().Add(patience)
	for until := f.answered.Load() + n; f.answered.Load() < until; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %d more answers", n)
		}
	}
}
