package scaleout

import "testing"

// Three pods are replaced one after another while callers send without retries. A new one
// comes, the old one drains, and only then does its address leave the name. plain is
// clients that know nothing of health; in-place starts each new pod at the address of the
// old one, once that has ended.
func TestARollingRestartFailsNoRequest(t *testing.T) {
	for name, config := range map[string]string{
		"round-robin": "round-robin", "weighted": "weighted", "consistent-hash": "consistent-hash", "plain": "", "in-place": "round-robin",
	} {
		t.Run(name, func(t *testing.T) {
			set := startPods(t, 3, nil)
			prefill := client(t, set, config)
			reachAll(t, set, prefill)
			load := send(t, prefill, 16)
			for _, old := range set.Pods() {
				load.more(t, 100)
				if name == "in-place" {
					p := set.replace(t, old)
					await(t, "the clients have found the new pod", func() bool { return p.Stats().Requests > 0 })
					continue
				}
				set.add(t)
				if err := old.Stop(); err != nil {
					t.Error(err)
				}
				load.more(t, 100)
				set.remove(old)
			}
			load.more(t, 300)
			load.stop()
			if failed := load.failed(); len(failed) > 0 {
				t.Errorf("%d requests failed and %d were answered; the first: %v", len(failed), load.answered.Load(), failed[0])
			}
			for i, n := range requests(set.Pods()) {
				if n == 0 {
					t.Errorf("the new pod %d got nothing", i)
				}
			}
		})
	}
}
