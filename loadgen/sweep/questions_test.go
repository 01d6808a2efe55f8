package sweep

import (
	"testing"
	"time"

	"paceline/loadgen/target"
)

func TestEachQuestionIsAnAnswerAndCachedTokensAreNotGuessed(t *testing.T) {
	m := measurement{wall: 2 * time.Second}
	for _, err := range []error{nil, errDropped} {
		m.prompts = append(m.prompts, target.Prompt{Body: make([]byte, 100), Questions: 8})
		m.samples = append(m.samples, sample{
			sent: true, at: time.Now(), latency: time.Second, err: err, answer: target.Answer{PromptTokens: 80, CachedUnknown: true},
		})
	}
	run := m.report()
	if run.Total != 16 || run.Completed != 8 || run.Failed != 8 || run.RequestThroughput != 4 ||
		run.Latency.Count != 1 || run.ImpossibleCounts != 0 {
		t.Errorf("got %+v", run)
	}
	for _, c := range []struct {
		counted int64 // by SGLang
		cached  int64
		unknown bool
	}{{30, 50, false}, {0, 0, true}, {81, 0, true}} { // none: an SGLang that does not count; too many: others' requests
		one := run
		one.ServerUncachedTokens = &c.counted
		takeCached(&one)
		if one.CachedTokens != c.cached || one.CachedUnknown != c.unknown {
			t.Errorf("%d computed: %d cached, unknown %v", c.counted, one.CachedTokens, one.CachedUnknown)
		}
	}
	if q := m.requests(); len(q) != 2 || q[0].Questions != 8 || q[0].Error != "" {
		t.Errorf("got %+v", q)
	}
}
