// Package scaleout tests the files of this folder, which spread load over several pods:
// service configurations for gRPC clients, and an Envoy. README.md says when to use which.
// Read spread_test.go first. Pods run in this process (pods_test.go); envoy_test.go needs a
// real Envoy; measure_test.go is a benchmark.
package scaleout

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/balancer/ringhash"           // for consistent-hash.json
	_ "google.golang.org/grpc/balancer/weightedroundrobin" // for weighted.json
	_ "google.golang.org/grpc/health"                      // for healthCheckConfig
	"google.golang.org/grpc/metadata"

	pb "paceline/proto/paceline/v1"
)

// patience bounds every wait of the tests; none of them needs it.
const patience = time.Minute

// speed is that of the simulators: a prompt of few tokens takes some 0.2 ms.
const speed = 50

// client connects with a service configuration of this folder: round-robin, weighted or
// consistent-hash. "" is round robin without health checks.
func client(t testing.TB, set *podSet, name string) pb.PrefillServiceClient {
	t.Helper()
	config := []byte(`{"loadBalancingConfig": [{"round_robin": {}}]}`)
	if name != "" {
		var err error
		if config, err = os.ReadFile(name + ".json"); err != nil {
			t.Fatal(err)
		}
	}
	return pb.NewPrefillServiceClient(set.dial(t, string(config)))
}

// keyHeader is the metadata by which consistent-hash.json and envoy.yaml choose a pod:
// prompts with one value go to one pod.
const keyHeader = "x-prefix-key"

// prompt is one of few tokens, unlike the others.
func prompt(i int) *pb.PrefillRequest {
	return &pb.PrefillRequest{TokenIds: []int32{int32(i % 100_000), int32(i / 100_000), 7, 8}}
}

// withKey is ctx with a key for consistent hashing.
func withKey(ctx context.Context, key string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, keyHeader, key)
}

// requests is how many prompts each SGLang has taken so far.
func requests(all []*pod) []int {
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

// reachAll sends until every pod has answered something: the client then knows all pods.
// Nobody else sends meanwhile.
func reachAll(t testing.TB, set *podSet, client pb.PrefillServiceClient) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	all := set.Pods()
	for i, before := 0, requests(all); slices.Contains(since(before, requests(all)), 0); i++ {
		if _, err := client.Prefill(withKey(ctx, fmt.Sprint("reach ", i)), prompt(i), grpc.WaitForReady(true)); err != nil {
			t.Fatal("until each pod has answered: ", err)
		}
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
