package scaleout

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "paceline/proto/paceline/v1"
)

// measureSpeed is that of the simulators in BenchmarkSpread: slow, so that four pods and
// their callers leave processors to spare.
const measureSpeed = 0.25

// BenchmarkSpread measures what more pods bring, and what each way of spreading prompts
// leaves of the prefix cache and makes of a slow pod. Figures are in simulated seconds.
//
//	go test -run '^$' -bench Spread -benchtime 1x -count 5 -timeout 2h ./deploy/scaleout | tee spread.txt
//	benchstat -col /way spread.txt
//
// PACELINE_ENVOY measures envoy.yaml, too.
func BenchmarkSpread(b *testing.B) {
	for _, n := range []int{1, 2, 4} {
		measure(b, fmt.Sprintf("pods=%d", n), "round-robin", converse(n*500, 1, 1), 64*n, n, nil)
	}
	turns := converse(120, 8, 1)
	for _, way := range []string{"round-robin", "weighted", "consistent-hash", "envoy"} {
		measure(b, "rollouts", way, converse(60, 1, 8), 64, 4, nil)
		measure(b, "turns", way, turns, 64, 4, func(_ int, o *podOptions) { o.Profile.KVCacheTokens = turns.distinct / 3 })
		measure(b, "uneven", way, converse(1000, 1, 1), 256, 4, func(pod int, o *podOptions) {
			if pod == 3 {
				o.Slow = 4
			}
		})
	}
}

func measure(b *testing.B, name, way string, load workload, callers, pods int, change func(int, *podOptions)) {
	b.Run(name+"/way="+way, func(b *testing.B) {
		binary := ""
		if way == "envoy" {
			binary = envoyBinary(b)
		}
		for range b.N {
			b.StopTimer()
			set := startPods(b, pods, func(pod int, o *podOptions) {
				settings := &o.Proxy.Settings
				settings.MaxWait = time.Duration(float64(settings.MaxWait) / measureSpeed)
				settings.MaxAge = time.Duration(float64(settings.MaxAge) / measureSpeed)
				o.Speed, o.Proxy.CallLoadReports = measureSpeed, way == "weighted"
				if change != nil {
					change(pod, o)
				}
			})
			var prefill pb.PrefillServiceClient
			if binary != "" {
				prefill = pb.NewPrefillServiceClient(startEnvoy(b, binary, set).dial(b))
			} else {
				prefill = client(b, set, way)
			}
			reachAll(b, set, prefill)
			b.StartTimer()
			load.send(b, set, prefill, callers)
		}
	})
}

// conversation is prompts that are sent one after the other, each after the answer to the
// one before.
type conversation struct {
	key     string // what its prompts are spread by
	prompts [][]int32
}

// workload is conversations in their order of arrival.
type workload struct {
	conversations []conversation
	distinct      int // min tokens that all pods together must compute
	prompts       int
}

// send sends the workload in a closed loop of so many callers, and reports what it took.
func (w workload) send(b *testing.B, set *podSet, client pb.PrefillServiceClient, callers int) {
	var (
		next    atomic.Int64
		sending sync.WaitGroup
		before  = requests(set.Pods())
		tokens  = computed(set)
		began   = time.Now()
	)
	for range callers {
		sending.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(w.conversations); i = next.Add(1) - 1 {
				if err := w.conversations[i].send(b.Context(), client); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	sending.Wait()
	took := time.Since(began).Seconds() * measureSpeed
	b.ReportMetric(float64(w.prompts)/took, "prompts/s")
	b.ReportMetric(float64(computed(set)-tokens)/float64(w.distinct), "computed/min")
	each, sum := since(before, requests(set.Pods())), 0
	for _, n := range each {
		sum += n
	}
	b.ReportMetric(float64(slices.Max(each)*len(each))/float64(sum), "busiest/mean")
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

// computed is how many tokens the SGLangs have computed so far.
func computed(set *podSet) (sum int64) {
	for _, p := range set.Pods() {
		sum += p.Stats().UncachedTokens
	}
	return sum
}

// converse is n conversations of so many turns, each so many times, the copies of one
// together. Sizes are in tokens, about those of R2E-Gym's agent with Qwen2.5: all first
// turns share a system prompt of 1,267, a problem adds 300 to 1,200, a step 150 to 850.
func converse(n, turns, copies int) workload {
	random := rand.New(rand.NewPCG(1, 2)) // the same prompts each time
	segment := func(low, high int) []int32 {
		ids := make([]int32, low+random.IntN(high-low+1))
		for i := range ids {
			ids[i] = random.Int32N(150_000)
		}
		return ids
	}
	system := segment(1267, 1267)
	w := workload{distinct: len(system), prompts: n * turns * copies}
	for i := range n {
		c := conversation{key: fmt.Sprint(i)}
		prompt := slices.Concat(system, segment(300, 1200))
		for range turns {
			c.prompts = append(c.prompts, prompt)
			prompt = slices.Concat(prompt, segment(150, 850))
		}
		w.distinct += len(c.prompts[turns-1]) - len(system)
		w.conversations = append(w.conversations, slices.Repeat([]conversation{c}, copies)...)
	}
	return w
}
