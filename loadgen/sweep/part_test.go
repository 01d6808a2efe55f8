package sweep

import (
	"flag"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"paceline/loadgen/target"
)

var _ flag.Value = new(Part)

func TestThePartsHoldEachConversationOnceAndAllCallers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []target.Prompt
		for i := range rapid.IntRange(0, 40).Draw(t, "prompts") {
			follows := i > 0 && rapid.Bool().Draw(t, "follows")
			all = append(all, target.Prompt{ID: fmt.Sprint(i), Follows: follows, Joins: i > 0 && !follows && rapid.Bool().Draw(t, "joins")})
		}
		of, callers := rapid.IntRange(1, 9).Draw(t, "of"), rapid.IntRange(1, 100).Draw(t, "callers")
		home, sum := map[string]int{}, 0
		for i := range of {
			own := Part{i, of}.Prompts(all)
			for k, p := range own {
				if _, twice := home[p.ID]; twice || k == 0 && (p.Follows || p.Joins) {
					t.Fatalf("prompt %s is in two parts, or without its beginning", p.ID)
				}
				home[p.ID] = i
			}
			share := Part{i, of}.Plan(Plan{Concurrency: callers}).Concurrency
			sum += share
			if share < callers/of || share > callers/of+1 {
				t.Fatalf("%d of %d callers", share, callers)
			}
		}
		if len(home) != len(all) || sum != callers {
			t.Fatalf("%d of %d prompts, %d of %d callers", len(home), len(all), sum, callers)
		}
		for i, p := range all {
			if (p.Follows || p.Joins) && home[p.ID] != home[all[i-1].ID] {
				t.Fatal("a conversation is torn, or from its copy")
			}
		}
	})
}

func TestAPartIsReadAsItIsWritten(t *testing.T) {
	var p Part
	for _, bad := range []string{"", "1", "1/", "/2", "2/2", "-1/2", "0/0", "0/1025", "0/2/3", "a/b"} {
		if err := p.Set(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if err := p.Set("3/4"); err != nil || p != (Part{3, 4}) || p.String() != "3/4" {
		t.Errorf("%+v, %v", p, err)
	}
}
