package sim

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestDeadlyInputDropsEveryConnectionAndTheCache(t *testing.T) {
	s := newServer(t, small())
	defer s.Close()
	url, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	post := func(body string) error { // nil for an answer of any status
		res, err := http.Post(url+"/generate", "application/json", strings.NewReader(body))
		if err == nil {
			err = res.Body.Close()
		}
		return err
	}
	for i, deadly := range []string{
		`{"text":"","sampling_params":{"max_new_tokens":0}}`,
		`{"text":["a","","b"]}`,
		`{"input_ids":[[1,2],[],[3]]}`,
		`{"input_ids":[151936]}`,
		`{"input_ids":[-1]}`,
		`{"input_ids":[1000000000000]}`,
		`{"input_ids":[[1],[4294967297]]}`, // 1 in 32 bits
	} {
		neighbour := make(chan error, 1)
		go func() {
			neighbour <- post(`{"input_ids":[1,2,3],"sampling_params":{"max_new_tokens":2000}}`)
		}()
		for running := 0; running == 0; { // until the neighbour is at work
			_, running, _ = s.scheduler.snapshot()
			time.Sleep(time.Millisecond)
		}
		if err := post(deadly); err == nil {
			t.Errorf("%s: answered", deadly)
		}
		if err := <-neighbour; err == nil {
			t.Errorf("%s: the neighbour was answered", deadly)
		}
		if st := s.Stats(); st.Crashes != int64(i+1) {
			t.Errorf("%s: %d crashes", deadly, st.Crashes)
		}
		if err := post(`{"input_ids":[1,2,3],"sampling_params":{"max_new_tokens":0}}`); err != nil {
			t.Errorf("%s: does not serve again: %v", deadly, err)
		}
	}
}

func TestServerThatDiedBeginsAnewAtOnce(t *testing.T) {
	p := small()
	p.ForwardSeconds = 10
	bubble(t, p, func(t *testing.T, s *Server) {
		dropped := func(path, body string) (dropped bool) {
			defer func() { dropped = recover() != nil }()
			do(t.Context(), s, "POST", path, body)
			return false
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if !dropped("/generate", `{"text":["a","b"]}`) {
				t.Error("the neighbour was answered")
			}
		})
		time.Sleep(time.Second) // the neighbour is in its forward
		wg.Go(func() {
			if !dropped("/flush_cache?timeout=60", "") {
				t.Error("the flush was answered")
			}
		})
		time.Sleep(time.Second)
		wg.Go(func() {
			if !dropped("/generate", `{"text":""}`) {
				t.Error("the deadly call was answered")
			}
		})
		time.Sleep(time.Millisecond)
		s.front.reserve(time.Now(), time.Minute) // of a call behind it
		wg.Wait()
		start := time.Now()
		if got := read(t, s, [][]int32{{1, 2}}); got[0].Meta.CachedTokens != 0 {
			t.Error("the cache was not lost")
		}
		if took, want := time.Since(start), 10*time.Second+11*time.Millisecond+200*time.Microsecond; took != want {
			t.Errorf("the next call took %v, want %v", took, want)
		}
	})
}
