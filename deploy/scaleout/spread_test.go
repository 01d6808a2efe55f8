package scaleout

import (
	"fmt"
	"testing"

	"paceline/deploy/scaleout/pods"
	pb "paceline/proto/paceline/v1"
)

func TestRoundRobinGivesEachPodItsShare(t *testing.T) {
	set := startPods(t, 3, pods.Options{})
	client := dial(t, set, "round-robin")
	reachAll(t, set, client)
	before := requests(set.Pods())
	for i := range 300 {
		if _, err := client.Prefill(t.Context(), prompt(i)); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range since(before, requests(set.Pods())) {
		if n < 95 || n > 105 { // 100, but for where a round begins
			t.Errorf("pod %d took %d of 300", i, n)
		}
	}
}

// The slow pod has more waiting beside what it answers, which the trailers of its
// answers tell.
func TestWeightsGiveASlowPodLess(t *testing.T) {
	const slow = 0
	set := startPods(t, 2, pods.Options{Speed: 5, Change: func(pod int, o *pods.PodOptions) {
		o.Proxy.CallLoadReports = true
		if pod == slow {
			o.Slow = func(int) float64 { return 10 }
		}
	}})
	client := dial(t, set, "weighted")
	reachAll(t, set, client)
	load := send(t, client, 32)
	before := requests(set.Pods())
	for range 200 { // until the first weights are there, and hold for a while
		load.more(t, 200)
		now := requests(set.Pods())
		took := since(before, now)
		if before = now; took[slow]*2 < took[1] {
			load.stop()
			if failed := load.failed(); len(failed) > 0 {
				t.Error(failed[0])
			}
			return
		}
	}
	t.Error("the pod that is ten times slower never got less than half of the other's prompts")
}

// With fewer pods each has more places on the ring, so some keys of the others move, too:
// a sixth where one of three goes. Without consistency it would be half.
func TestPromptsOfOneKeyGoToOnePodAndMostStayWhenAnotherGoes(t *testing.T) {
	const keys = 200
	set := startPods(t, 3, pods.Options{})
	client := dial(t, set, "consistent-hash")
	reachAll(t, set, client)
	first := homes(t, set, client, keys, 4)
	took := map[*pods.Pod]int{}
	for _, p := range first {
		took[p]++
	}
	if len(took) != 3 {
		t.Errorf("%d keys went to %d of 3 pods", keys, len(took))
	}
	lost := set.Pods()[1]
	set.Remove(lost)
	if err := lost.Stop(); err != nil {
		t.Error(err)
	}
	moved := 0
	for key, p := range homes(t, set, client, keys, 1) {
		if before := first[key]; before != lost && p != before {
			moved++
		}
	}
	stayed := keys - took[lost]
	t.Logf("%d of %d keys moved whose pod is there", moved, stayed)
	if moved*5 > stayed*2 {
		t.Errorf("%d of %d keys moved whose pod is there", moved, stayed)
	}
}

// homes is the pod of each key, to which all of its prompts must have gone.
func homes(t *testing.T, set *pods.Set, client pb.PrefillServiceClient, keys, prompts int) []*pods.Pod {
	t.Helper()
	all := set.Pods()
	out := make([]*pods.Pod, keys)
	for key := range keys {
		before := requests(all)
		for i := range prompts {
			if _, err := client.Prefill(withKey(t.Context(), fmt.Sprint(key)), prompt(key*1000+i)); err != nil {
				t.Fatal(err)
			}
		}
		for i, n := range since(before, requests(all)) {
			switch n {
			case 0:
			case prompts:
				out[key] = all[i]
			default:
				t.Errorf("key %d: %d of %d prompts went to one pod", key, n, prompts)
			}
		}
	}
	return out
}

// The rollouts of a problem come one after the other, to one proxy before three SGLangs.
func TestOneProxyBeforeSeveralSGLangsKeepsRolloutsTogether(t *testing.T) {
	set := startPods(t, 1, pods.Options{Change: func(_ int, o *pods.PodOptions) { o.Servers = 3 }})
	client := dial(t, set, "round-robin")
	const problems, rollouts, tokens = 30, 4, 1024
	for problem := range problems {
		ids := make([]int32, tokens)
		for i := range ids {
			ids[i] = int32(problem*tokens + i)
		}
		for range rollouts {
			if _, err := client.Prefill(t.Context(), &pb.PrefillRequest{TokenIds: ids}); err != nil {
				t.Fatal(err)
			}
		}
	}
	computed := set.Pods()[0].Stats().UncachedTokens
	if fewest := int64(problems * tokens); computed > fewest+fewest/10 {
		t.Errorf("computed %d tokens where %d would do: rollouts went to SGLangs that had not seen their problem", computed, fewest)
	}
}
