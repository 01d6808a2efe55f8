package load

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"paceline/loadgen/target"
)

func TestAMixHasItsSharesExactlyAndASeedRepeatsIt(t *testing.T) {
	var m Mix
	if err := m.Set("first=70, turns=20,rollouts=10"); err != nil {
		t.Fatal(err)
	}
	got := m.assign(50, 1)
	counts := map[string]int{}
	for _, k := range got {
		counts[k]++
	}
	if counts[kindFirst] != 35 || counts[kindTurns] != 10 || counts[kindRollouts] != 5 {
		t.Errorf("%v", counts)
	}
	if !slices.Equal(got, m.assign(50, 1)) || slices.Equal(got, m.assign(50, 2)) || slices.IsSorted(got) {
		t.Error("the order is not the seed's")
	}
}

func TestAMixOfAnySharesGivesEachTrajectoryAKind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Mix{shares: []float64{rapid.Float64Range(0, 1).Draw(t, "first"), rapid.Float64Range(0, 1).Draw(t, "turns"), 0.1}}
		sum := m.shares[0] + m.shares[1] + m.shares[2]
		n := rapid.IntRange(0, 100).Draw(t, "n")
		for i := range m.shares {
			m.shares[i] /= sum
		}
		counts := map[string]int{}
		for _, k := range m.assign(n, rapid.Uint64().Draw(t, "seed")) {
			counts[k]++
		}
		total := 0
		for i, k := range kinds {
			if off := float64(counts[k]) - m.shares[i]*float64(n); off > 1 || off < -1 {
				t.Fatalf("%s: %d of %d for a share of %v", k, counts[k], n, m.shares[i])
			}
			total += counts[k]
		}
		if total != n {
			t.Fatalf("%d of %d", total, n)
		}
	})
}

func TestWhatIsNoMixIsRefused(t *testing.T) {
	for _, text := range []string{"", "first", "first=x", "first=-1", "first=NaN", "first=0", "other=1", "first=1,first=2", "first=1,,"} {
		if err := new(Mix).Set(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestAMixIsSentAsItsKinds(t *testing.T) {
	o := Options{Count: 10, Seed: 1, Turns: 1, Rollouts: 1, ChatTemplate: "plain"}
	if err := o.Mix.Set("first=5,turns=3,rollouts=2"); err != nil {
		t.Fatal(err)
	}
	l, err := Read(o)
	if err != nil {
		t.Fatal(err)
	}
	of := map[string][]target.Prompt{}
	for _, p := range l.Prompts {
		of[p.Kind] = append(of[p.Kind], p)
	}
	if len(of[kindFirst]) != 5 || len(of[kindRollouts]) != 2*defaultMixRollouts || len(of[kindTurns]) < 3*25 {
		t.Errorf("%d, %d, %d", len(of[kindFirst]), len(of[kindTurns]), len(of[kindRollouts]))
	}
	for i, p := range of[kindRollouts] {
		if (i%defaultMixRollouts > 0) != p.Joins || p.Follows || p.Joins != strings.Contains(p.ID, "#") {
			t.Errorf("copy %d: %s joins %v", i, p.ID, p.Joins)
		}
	}
	if l.Source.Mix[kindTurns] != 3 || l.Source.Requests != len(l.Prompts) {
		t.Errorf("%+v", l.Source)
	}
}
