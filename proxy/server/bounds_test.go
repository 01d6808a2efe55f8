package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	pb "paceline/proto/paceline/v1"
)

// listOfTexts is a call of /generate with n prompts.
func listOfTexts(n int) string {
	return `{"text":["a"` + strings.Repeat(`,"a"`, n-1) + `],"sampling_params":{"max_new_tokens":0}}`
}

func TestAListThatOverfillsTheQueueIsRefusedWholeLikeAPrompt(t *testing.T) {
	f := newFake(t)
	f.hold = make(chan struct{})
	r := start(t, f, func(c *Config) {
		c.Settings.QueueRequests, c.Settings.BatchSize, c.Settings.MaxInFlight, c.Settings.MaxWait = 64, 1, 1, 0
		c.Settings.MergeIdentical = false
	})
	defer close(f.hold)
	r.send(r.context(), &pb.PrefillRequest{Text: "in flight"})
	<-f.entered
	full := func(n int) {
		t.Helper()
		got := r.http(http.MethodPost, r.HTTPAddr()+"/generate", listOfTexts(n))
		if got.code != http.StatusServiceUnavailable || got.header.Get("Retry-After") != "1" ||
			!strings.Contains(got.body, "queue_requests is 64") {
			t.Errorf("a list of %d: %d %.300s", n, got.code, got.body)
		}
	}
	full(65)
	full(500_000)
	r.send(r.context(), &pb.PrefillRequest{Text: "waits"})
	await(t, "one prompt waits", func() bool { return r.up.Queue.Stats().Queued == 1 })
	full(64)
	if s := r.up.Queue.Stats(); s.Accepted != 2 || s.Queued != 1 {
		t.Errorf("some were accepted: %+v", s)
	}
}

func TestListsThatRaceForTheQueueGetAnswersOrItsRefusal(t *testing.T) {
	f := newFake(t)
	r := start(t, f, func(c *Config) {
		c.Settings.QueueRequests, c.Settings.BatchSize, c.Settings.MaxWait = 20, 4, time.Millisecond
		c.Settings.MergeIdentical = false
	})
	var lists sync.WaitGroup
	for range 50 {
		lists.Go(func() {
			switch code, answer := ask(t, "POST", r.url("/generate"), listOfTexts(15)); {
			case code == http.StatusOK && strings.Count(answer, "meta_info") == 15:
			case code == http.StatusServiceUnavailable && strings.Contains(answer, "queue_requests"):
			default:
				t.Errorf("%d %.300s", code, answer)
			}
		})
	}
	lists.Wait()
}

// upload is a POST whose body arrives as the test writes it.
type upload struct {
	t    *testing.T
	conn net.Conn
}

func (r *running) upload(path string) *upload {
	conn, err := net.Dial("tcp", r.HTTPAddr())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	u := &upload{r.t, conn}
	_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000000\r\n\r\n", path)
	u.write(`{"text":"`)
	return u
}

func (u *upload) write(s string) { _, _ = io.WriteString(u.conn, s) } // it may be refused meanwhile

// refused wants the refusal of the queue's bytes.
func (u *upload) refused() {
	u.t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(u.conn), nil)
	if err != nil {
		u.t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if !strings.Contains(string(body), "queue_bytes is 262144") || res.Header.Get("Retry-After") != "1" ||
		res.StatusCode != http.StatusServiceUnavailable && res.StatusCode != http.StatusTooManyRequests {
		u.t.Errorf("%d %v %s", res.StatusCode, res.Header, body)
	}
}

func (r *running) reserved() int64 { return r.up.Queue.Stats().ReservedBytes }

func fewBytes(c *Config) { c.Settings.QueueBytes, c.Settings.MaxWait = 256<<10, 0 }

func TestAnUnfinishedBodyIsRefusedOnceItExceedsTheQueuesBytes(t *testing.T) {
	r := start(t, newFake(t), fewBytes)
	for _, path := range []string{"/generate", "/v1/chat/completions", "/v1/prefill"} {
		u := r.upload(path)
		u.write(strings.Repeat("x", 320<<10))
		u.refused()
	}
	await(t, "nothing is reserved", func() bool { return r.reserved() == 0 })
}

func TestTheLargestUnfinishedBodyMakesRoomForOthers(t *testing.T) {
	r := start(t, newFake(t), fewBytes)
	u := r.upload("/generate")
	u.write(strings.Repeat("x", 200<<10))
	await(t, "it is counted", func() bool { return r.reserved() >= 128<<10 })
	for _, path := range []string{"/generate", "/v1/prefill"} {
		body := `{"text":"a` + strings.Repeat(" ", 100<<10) + `",`
		body += map[string]string{"/generate": `"sampling_params":{"max_new_tokens":0}}`, "/v1/prefill": `"max_new_tokens":0}`}[path]
		if code, answer := ask(t, "POST", r.url(path), body); code == http.StatusServiceUnavailable {
			t.Errorf("%s: %d %.300s", path, code, answer)
		}
	}
	u.refused()
	await(t, "nothing is reserved", func() bool { return r.reserved() == 0 })
}

func TestMessagesOfARESTStreamAreCountedOnlyUntilTheyAreQueued(t *testing.T) {
	r := start(t, newFake(t), fewBytes)
	var body strings.Builder
	for i := range 20 {
		fmt.Fprintf(&body, `{"request":{"request_id":"%d","text":"a%s"}}`+"\n", i, strings.Repeat(" ", 50<<10))
	}
	code, answer := ask(t, "POST", r.url("/v1/prefill:stream"), body.String())
	if n := strings.Count(answer, `"request_id"`); code != http.StatusOK || n < 20 {
		t.Errorf("%d, %d replies: %.300s", code, n, answer)
	}
	await(t, "nothing is reserved", func() bool { return r.reserved() == 0 })
}
