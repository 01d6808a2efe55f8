package scaleout

import (
	"testing"

	"paceline/deploy/scaleout/pods"
)

// Three pods are replaced one after another while callers send without retries: a new
// one comes, the old one drains, and only then does its address leave the name.
func TestARollingRestartFailsNoRequest(t *testing.T) {
	for _, way := range []string{"round-robin", "weighted", "consistent-hash"} {
		t.Run(way, func(t *testing.T) {
			set := startPods(t, 3, pods.Options{})
			client := dial(t, set, way)
			reachAll(t, set, client)
			load := send(t, client, 16)
			for _, old := range set.Pods() {
				load.more(t, 100)
				if _, err := set.Add(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := old.Stop(); err != nil {
					t.Error(err)
				}
				load.more(t, 100)
				set.Remove(old)
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
