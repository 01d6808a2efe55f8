package scaleout

import (
	"fmt"
	"testing"

	pb "paceline/proto/paceline/v1"
)

func TestRoundRobinGivesEachPodItsShare(t *testing.T) {
	set := startPods(t, 3, nil)
	prefill := client(t, set, "round-robin")
	reachAll(t, set, prefill)
	before := requests(set.Pods())
	for i := range 300 {
		if _, err := prefill.Prefill(t.Context(), prompt(i)); err != nil {
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
	set := startPods(t, 2, func(pod int, o *podOptions) {
		o.Speed, o.Proxy.CallLoadReports = 5, true
		if pod == slow {
			o.Slow = 10
		}
	})
	prefill := client(t, set, "weighted")
	reachAll(t, set, prefill)
	load := send(t, prefill, 32)
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
	set := startPods(t, 3, nil)
	prefill := client(t, set, "consistent-hash")
	reachAll(t, set, prefill)
	first := homes(t, set, prefill, keys, 4)
	took := map[*pod]int{}
	for _, p := range first {
		took[p]++
	}
	if len(took) != 3 {
		t.Errorf("%d keys went to %d of 3 pods", keys, len(took))
	}
	lost := set.Pods()[1]
	set.remove(lost)
	if err := lost.Stop(); err != nil {
		t.Error(err)
	}
	moved := 0
	for key, p := range homes(t, set, prefill, keys, 1) {
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
func homes(t *testing.T, set *podSet, client pb.PrefillServiceClient, keys, prompts int) []*pod {
	t.Helper()
	all := set.Pods()
	out := make([]*pod, keys)
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
