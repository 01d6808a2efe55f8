package upstream

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"

	"paceline/batcher"
	"paceline/sglang"
)

// A prompt prepared for the previous model could get the stamp of the new one, when the
// snapshot was read once to check the prompt and once more to stamp it.
func TestAPromptHasTheStampOfTheSnapshotThatItWasCheckedAgainst(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Tokenizer = TokenizerNone
	u, err := New(cfg, batcher.DefaultSettings(), nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	models := [2]*Snapshot{
		{Asked: true, Ready: true, Limits: Limits{VocabSize: 10}, generation: 1},
		{Asked: true, Ready: true, Limits: Limits{VocabSize: 20}, generation: 2},
	}
	u.current.Store(models[0])
	var stop atomic.Bool
	changing := make(chan struct{})
	go func() { // SGLang serves one model and the other in turn
		defer close(changing)
		for i := 0; !stop.Load(); i++ {
			u.current.Store(models[i%2])
		}
	}()
	for range 20_000 {
		var checked Limits
		s := u.begin(t.Context())
		item, err := s.item(Caller{}, func(l Limits) (*Prompt, error) {
			checked = l
			return &Prompt{Request: sglang.Request{InputIDs: []int32{15}}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := models[item.Value.generation-1].Limits; checked != want {
			t.Fatalf("checked against %+v, and stamped as for %+v", checked, want)
		}
	}
	stop.Store(true)
	<-changing

	u.current.Store(models[0])
	s := u.begin(t.Context())
	item, err := s.item(Caller{}, func(Limits) (*Prompt, error) {
		u.current.Store(models[1]) // the model changes while the prompt is parsed
		return &Prompt{Request: sglang.Request{InputIDs: []int32{5}}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := u.Queue.Submit(t.Context(), item); !errors.Is(err, errOtherModel) {
		t.Errorf("sent to another model: %v", err)
	}
}
