package server

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/upstream"
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
	list := func(n int) httpReply { return r.http(http.MethodPost, r.HTTPAddr()+"/generate", listOfTexts(n)) }
	full := func(n int) {
		t.Helper()
		got := list(n)
		if got.code != http.StatusServiceUnavailable || got.header.Get("Retry-After") != "1" ||
			!strings.Contains(got.body, "queue_requests is 64") {
			t.Errorf("a list of %d: %d %.300s", n, got.code, got.body)
		}
	}
	for _, n := range []int{65, 500_000} {
		if got := list(n); got.code != http.StatusBadRequest || got.header.Get("Retry-After") != "" ||
			!strings.Contains(got.body, "text: must hold at most 64 elements, which is queue_requests") {
			t.Errorf("a list of %d, which never fits: %d %.300s", n, got.code, got.body)
		}
	}
	r.send(r.context(), &pb.PrefillRequest{Text: "waits"})
	await(t, "one prompt waits", func() bool { return r.up.Queue.Stats().Queued == 1 })
	full(64)
	if s := r.up.Queue.Stats(); s.Accepted != 2 || s.Queued != 1 {
		t.Errorf("some were accepted: %+v", s)
	}
}

func TestAListOfMoreBytesThanTheQueueEverHoldsIsRefusedForGood(t *testing.T) {
	r := start(t, newFake(t), fewBytes)
	one := "[1" + strings.Repeat(",1", 89) + "]"
	body := `{"input_ids":[` + one + strings.Repeat(","+one, 799) + `],"sampling_params":{"max_new_tokens":0}}`
	got := r.http(http.MethodPost, r.HTTPAddr()+"/generate", body)
	if got.code != http.StatusBadRequest || got.header.Get("Retry-After") != "" ||
		!strings.Contains(got.body, "262144 bytes together, which is queue_bytes") {
		t.Errorf("%d %.300s", got.code, got.body)
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

// cutConn loses all that is written after so many bytes.
type cutConn struct {
	net.Conn
	left atomic.Int64
}

func (c *cutConn) Write(p []byte) (int, error) {
	if n := min(c.left.Load(), int64(len(p))); n > 0 {
		c.left.Add(-n)
		if _, err := c.Conn.Write(p[:n]); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// cut sends a message on its own connection. Only the given number of bytes arrives.
func (r *running) cut(bytes int64) <-chan error {
	dial := func(context.Context, string) (net.Conn, error) {
		conn, err := net.Dial("tcp", r.Addr())
		c := &cutConn{Conn: conn}
		c.left.Store(bytes)
		return c, err
	}
	conn, err := grpc.NewClient("passthrough:///x", grpc.WithContextDialer(dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	ended := make(chan error, 1)
	go func() {
		_, err := pb.NewPrefillServiceClient(conn).Prefill(r.context(), &pb.PrefillRequest{Text: strings.Repeat("x", 4<<20)})
		ended <- err
	}()
	return ended
}

func TestTheConnectionWithTheMostUnfinishedBytesIsClosedBeyondTheQueuesBytes(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.Settings.QueueBytes, c.Settings.MaxWait = 1<<20, 0 })
	small := r.cut(350 << 10)
	await(t, "the first is counted", func() bool { return r.reserved() >= 300<<10 })
	if err := <-r.cut(700 << 10); status.Code(err) != codes.Unavailable {
		t.Errorf("the largest: %v", err)
	}
	await(t, "the largest is not counted", func() bool { n := r.reserved(); return n >= 300<<10 && n <= 350<<10 })
	if o := <-r.send(r.context(), &pb.PrefillRequest{Text: "a"}); o.err != nil {
		t.Error(o.err)
	}
	select {
	case err := <-small:
		t.Error("the smaller ended", err)
	default:
	}
}

func TestCompleteMessagesAreNotCounted(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.Settings.QueueBytes, c.Settings.MaxWait = 1<<20, 0 })
	large := strings.Repeat(" ", 600<<10)
	s := r.stream(r.context())
	for i := range 10 {
		send(t, s, &pb.PrefillRequest{RequestId: fmt.Sprint(i), Text: large})
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
		if o := <-r.send(r.context(), &pb.PrefillRequest{Text: large}); status.Code(o.err) == codes.Unavailable {
			t.Fatal(o.err)
		}
	}
	await(t, "nothing is reserved", func() bool { return r.reserved() == 0 })
}

// frame returns a frame of HTTP/2.
func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	b := []byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

func TestUnfinishedMessagesAreFollowedByStreamWhateverTheReads(t *testing.T) {
	const size = 1000
	whole := append([]byte{0, 0, 0, size >> 8, size & 0xff}, make([]byte, size)...)
	for read := range 40 {
		var reserved int64
		arrivals := upstream.NewArrivals(func(n int64) error { reserved += n; return nil })
		client, server := net.Pipe()
		l := messageListener{oneConn{server}, arrivals}
		accepted, _ := l.Accept()
		c := accepted.(*messageConn)
		receive := func(want int, all ...[]byte) {
			t.Helper()
			data := slices.Concat(all...)
			go func() { _, _ = client.Write(data) }()
			for p, left := make([]byte, read+1), len(data); left > 0; {
				n, err := c.Read(p[:min(len(p), left)])
				if left -= n; err != nil {
					t.Fatal(err)
				}
			}
			if c.unfinished != want {
				t.Errorf("%d unfinished, want %d", c.unfinished, want)
			}
		}
		receive(0, []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(4, 0, 0, nil), frame(frameHeaders, 4, 1, make([]byte, 30)))
		receive(3, frame(frameData, 0, 1, whole[:3]))
		receive(500, frame(frameData, 0, 1, whole[3:500]))
		receive(506, frame(frameHeaders, 4, 3, nil), frame(frameData, 0, 3, slices.Concat(whole, whole[:6])))
		receive(6, frame(frameData, flagEndStream, 1, whole[500:]))
		receive(0, frame(frameReset, 0, 3, make([]byte, 4)))
		receive(7, frame(frameHeaders, 4, 5, nil), frame(frameData, 0, 5, whole[:7]))
		go func() { _, _ = io.Copy(io.Discard, client) }()
		_, _ = c.Write(frame(frameHeaders, 4|flagEndStream, 5, nil))
		receive(0, frame(frameData, 0, 5, whole[7:100]))
		_ = c.Close()
		_ = client.Close()
	}
}

// oneConn is a listener that accepts one connection.
type oneConn struct{ net.Conn }

func (o oneConn) Accept() (net.Conn, error) { return o.Conn, nil }
func (o oneConn) Addr() net.Addr            { return o.LocalAddr() }
