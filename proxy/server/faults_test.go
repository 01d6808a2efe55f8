package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "paceline/proto/paceline/v1"
)

// faults are what a server does to some of its calls. Only the callers of those calls may
// see an error, and only with the given codes.
var faults = map[string]struct {
	call  func(w http.ResponseWriter, r *http.Request, c fakeCall) bool
	codes []codes.Code // that callers may see
}{
	"500, 503 and 400 mixed": {func(w http.ResponseWriter, _ *http.Request, _ fakeCall) bool {
		code := []int{500, 503, 400}[rand.IntN(3)]
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"error":{"message":"fault %d"}}`, code)
		return true
	}, []codes.Code{codes.Internal, codes.Unavailable, codes.InvalidArgument}},
	"resets before the answer": {func(http.ResponseWriter, *http.Request, fakeCall) bool {
		panic(http.ErrAbortHandler)
	}, []codes.Code{codes.Unavailable}},
	"resets in the middle of the answer": {func(w http.ResponseWriter, _ *http.Request, c fakeCall) bool {
		data, _ := json.Marshal(c.results())
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:len(data)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}, []codes.Code{codes.Unavailable}},
	"one answer too few": {func(w http.ResponseWriter, _ *http.Request, c fakeCall) bool {
		_ = json.NewEncoder(w).Encode(c.results()[1:])
		return true
	}, []codes.Code{codes.Internal}},
	"answers in another order": {func(w http.ResponseWriter, _ *http.Request, c fakeCall) bool {
		all := c.results()
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		_ = json.NewEncoder(w).Encode(all)
		return true
	}, []codes.Code{codes.Internal}},
	"answers to nobody's question": {func(w http.ResponseWriter, _ *http.Request, c fakeCall) bool {
		all := c.results()
		all[0]["meta_info"].(map[string]any)["id"] = "somebody-else"
		_ = json.NewEncoder(w).Encode(all)
		return true
	}, []codes.Code{codes.Internal}},
	"a page of HTML": {func(w http.ResponseWriter, _ *http.Request, _ fakeCall) bool {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<html>Bad gateway</html>")
		return true
	}, []codes.Code{codes.Internal}},
	"hangs": {func(_ http.ResponseWriter, r *http.Request, _ fakeCall) bool {
		select {
		case <-r.Context().Done():
		case <-time.After(200 * time.Millisecond):
		}
		panic(http.ErrAbortHandler)
	}, []codes.Code{codes.Unavailable, codes.DeadlineExceeded}},
}

func TestFaultsUnderLoadCostOnlyTheirOwnCallers(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.fault = func(w http.ResponseWriter, r *http.Request, c fakeCall) bool {
				return rand.IntN(4) == 0 && fault.call(w, r, c)
			}
			r := start(t, f, func(c *Config) {
				c.Settings.BatchSize, c.Settings.MaxWait, c.Settings.BreakerFailures = 4, time.Millisecond, 1000
			})
			l := load{running: r, allowed: fault.codes}
			l.run(16, 50)
			f.mu.Lock()
			f.fault = nil
			f.mu.Unlock()
			l.allowed = nil
			l.run(16, 10)
			l.conserves()
			t.Logf("%d answered, %d failed", l.answered.Load(), l.failed.Load())
		})
	}
}

// impossible are answers to one prompt that can't be true, by meta_info. The last makes
// the whole list no JSON.
var impossible = map[string]string{
	"negative prompt_tokens":      `"prompt_tokens":-5,"cached_tokens":-7`,
	"prompt beyond the context":   `"prompt_tokens":4294967297`,
	"negative cached_tokens":      `"prompt_tokens":2,"cached_tokens":-1`,
	"more cached than prompt":     `"prompt_tokens":2,"cached_tokens":9223372036854775807`,
	"negative completion_tokens":  `"prompt_tokens":2,"completion_tokens":-1`,
	"huge completion_tokens":      `"prompt_tokens":2,"completion_tokens":9223372036854775807`,
	"an infinity":                 `"prompt_tokens":2,"queue_time":1e999`,
	"log probabilities of others": `"prompt_tokens":1,"input_token_logprobs":[[-1,5,null],[-1,5,null]]`,
	"a token id beyond 32 bits":   `"prompt_tokens":2},"output_ids":[4294967297],"x":{`,
	"not a number":                `"prompt_tokens":NaN`,
}

func TestAnAnswerThatCantBeTrueCostsItsOwnCallerAlone(t *testing.T) {
	for name, inside := range impossible {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.fault = func(w http.ResponseWriter, _ *http.Request, c fakeCall) bool {
				answers := make([]string, len(c.RID))
				for i, one := range c.results() {
					data, _ := json.Marshal(one)
					answers[i] = string(data)
					if c.Text[i] == "spoilt prompt" {
						answers[i] = fmt.Sprintf(`{"text":"","output_ids":[],"meta_info":{"id":%q,"finish_reason":{"type":"length"},%s}}`, c.RID[i], inside)
					}
				}
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprintf(w, "[%s]", strings.Join(answers, ","))
				return true
			}
			r := start(t, f, func(c *Config) {
				c.Settings.BatchSize, c.Settings.MaxWait = 4, time.Minute
			})
			var ends []<-chan outcome
			for i := range 4 {
				text := strings.Repeat("word ", i+1)
				if i == 2 {
					text = "spoilt prompt"
				}
				ends = append(ends, r.send(r.context(), &pb.PrefillRequest{Text: text}))
			}
			for i, end := range ends {
				switch o := <-end; {
				case i == 2 && (status.Code(o.err) != codes.Internal || !strings.Contains(o.err.Error(), "can't be understood")):
					t.Errorf("the spoilt answer: %v, %v", o.reply, o.err)
				case i != 2 && (o.err != nil || o.reply.PromptTokens != uint32(i+1)):
					t.Errorf("neighbour %d: %v, %v", i, o.reply, o.err)
				}
			}
			if code, _ := ask(t, "GET", r.url("/metrics"), ""); code == 0 {
				t.Error("the proxy is gone")
			}
		})
	}
}

// load sends requests that recognize their own answers.
type load struct {
	*running
	allowed          []codes.Code // that a request may end with
	answered, failed atomic.Int64
}

// run starts callers that send a number of requests each.
func (l *load) run(callers, each int) {
	l.t.Helper()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for n := 1; n <= each; n++ {
				l.one(l.context(), 1+rand.IntN(90))
			}
		})
	}
	wg.Wait()
}

func (l *load) one(ctx context.Context, words int) {
	o := <-l.send(ctx, &pb.PrefillRequest{Text: strings.Repeat("word ", words) + fmt.Sprint(rand.Int64())})
	switch {
	case o.err == nil && o.reply.PromptTokens != uint32(words+1):
		l.t.Errorf("%d words got the answer to %d", words+1, o.reply.PromptTokens)
	case o.err == nil:
		l.answered.Add(1)
	default:
		l.failed.Add(1)
		for _, code := range l.allowed {
			if status.Code(o.err) == code {
				if strings.Contains(o.err.Error(), "word word") {
					l.t.Errorf("the error tells the prompt: %v", o.err)
				}
				return
			}
		}
		l.t.Errorf("%d words: %v", words+1, o.err)
	}
}

// conserves checks that every accepted request has ended once.
func (l *load) conserves() {
	l.t.Helper()
	await(l.t, "nothing is left", func() bool { return l.Pending() == 0 })
	s := l.up.Queue.Stats()
	if s.Accepted != s.Answered+s.Failed+s.Cancelled || s.QueuedBytes != 0 || s.Held != 0 {
		l.t.Errorf("%+v", s)
	}
}

func TestSettingsThatChangeAHundredTimesASecondLoseNothing(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.Settings.MaxWait = time.Millisecond })
	l := load{running: r}
	stop, stopped := make(chan struct{}), make(chan struct{})
	changes := 0
	go func() {
		defer close(stopped)
		for ; ; changes++ {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			s := settingsMessage(r.up.Queue.Settings())
			s.Mode = pb.BatchMode(1 + rand.IntN(2))
			s.BatchSize, s.MaxInFlight = uint32(1+rand.IntN(20)), uint32(1+rand.IntN(4))
			s.Share, s.MergeIdentical = pb.Share(1+rand.IntN(3)), rand.IntN(2) == 0
			s.BatchTokens, s.PrefixBlocks = uint64(rand.IntN(300)), uint32(1+rand.IntN(50))
			fields := "mode,batch_size,max_in_flight,share,merge_identical,batch_tokens,prefix_blocks"
			if _, err := r.admin.UpdateSettings(r.context(), update(fields, s)); err != nil {
				t.Error(err)
			}
		}
	}()
	l.run(32, 60)
	close(stop)
	<-stopped
	l.conserves()
	t.Logf("%d changes, %d answered", changes, l.answered.Load())
}

func TestCallersThatVanishCostTheOthersNothing(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.Settings.BatchSize, c.Settings.MaxWait = 8, 2*time.Millisecond })
	l := load{running: r}
	vanishing := load{running: r, allowed: []codes.Code{codes.Canceled, codes.DeadlineExceeded}}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				ctx, cancel := context.WithTimeout(r.context(), time.Duration(rand.IntN(4_000_000)))
				vanishing.one(ctx, 5)
				cancel()
			}
		})
	}
	l.run(8, 50)
	wg.Wait()
	l.conserves()
	if l.failed.Load() != 0 {
		t.Errorf("%d failed", l.failed.Load())
	}
}

func TestConnectionsThatAreOpenedAndLeftHarmNobody(t *testing.T) {
	const many = 2000 // of each port; the limit of open files allows some 10,000 in all on most machines
	r := start(t, newFake(t), nil)
	var left []net.Conn
	defer func() {
		for _, c := range left {
			_ = c.Close()
		}
	}()
	for range many {
		for _, addr := range []string{r.Addr(), r.HTTPAddr()} {
			c, err := new(net.Dialer).DialContext(r.context(), "tcp", addr)
			if err != nil {
				t.Skipf("this machine allows no more than %d connections: %v", len(left), err)
			}
			left = append(left, c)
		}
	}
	l := load{running: r}
	l.run(8, 10)
	l.conserves()
}

func TestTextThatIsNoUTF8IsRefusedOnEveryWayIn(t *testing.T) {
	r := start(t, newFake(t), nil)
	if o := <-r.send(r.context(), &pb.PrefillRequest{Text: "a\xff"}); o.err == nil {
		t.Error("over gRPC")
	}
	for _, path := range []string{"/v1/prefill", "/generate", "/v1/completions"} {
		if reply := r.http(http.MethodPost, r.HTTPAddr()+path, "{\"text\": \"a\xff\"}"); reply.code != http.StatusBadRequest ||
			strings.Contains(reply.body, "\xff") {
			t.Errorf("%s: %+v", path, reply)
		}
	}
	l := load{running: r}
	l.run(2, 2)
	l.conserves()
}

func TestAClientThatDoesNotReadHoldsUpNobodyElse(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.Settings.MaxWait = 0 })
	var lazy []net.Conn
	defer func() {
		for _, c := range lazy {
			_ = c.Close()
		}
	}()
	for range 50 {
		c, err := new(net.Dialer).DialContext(r.context(), "tcp", r.HTTPAddr())
		if err != nil {
			t.Fatal(err)
		}
		lazy = append(lazy, c)
		body := `{"text": "a"}`
		for range 20 { // pipelined, and no answer is read
			_, _ = io.WriteString(c, fmt.Sprintf("POST /v1/prefill HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		}
	}
	l := load{running: r}
	l.run(8, 20)
	l.conserves()
}
