package server

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pb "paceline/proto/paceline/v1"
)

// startPool runs a proxy in front of several SGLangs, all of them ready.
func startPool(t *testing.T, n int, change func(*Config)) (*running, []*fakeSGLang) {
	t.Helper()
	fakes := make([]*fakeSGLang, n)
	for i := range fakes {
		fakes[i] = newFake(t)
	}
	r := start(t, fakes[0], func(c *Config) {
		for _, f := range fakes[1:] {
			c.Upstreams = append(c.Upstreams, f.url())
		}
		if change != nil {
			change(c)
		}
	})
	await(t, "all SGLangs are ready", func() bool { return r.readyOnes() == n })
	return r, fakes
}

func (r *running) readyOnes() (n int) {
	for _, b := range r.pool.all() {
		if b.upstream.state().ready {
			n++
		}
	}
	return n
}

// long is a prompt of many blocks that begins with a word of its own.
func long(word string, words int) string { return word + strings.Repeat(" of the same words", words/4) }

func TestAPromptGoesToTheSGLangThatHasItsBeginning(t *testing.T) {
	r, fakes := startPool(t, 3, func(c *Config) { c.Settings.MaxWait = 0 })
	r.allowLongPrompts(fakes)
	ask := func(text string) {
		t.Helper()
		if o := <-r.send(r.context(), &pb.PrefillRequest{Text: text}); o.err != nil {
			t.Fatal(o.err)
		}
	}
	const conversations = 40 // equal SGLangs are chosen by chance: that one of three gets none happens once in millions
	for i := range conversations {
		ask(long(fmt.Sprint("conversation", i), 400))
	}
	for i := range conversations {
		ask(long(fmt.Sprint("conversation", i), 800))
	}
	for _, f := range fakes {
		begun := map[string]bool{}
		for _, c := range f.seen() {
			for _, text := range c.Text {
				name, _, _ := strings.Cut(text, " ")
				if len(text) > 3000 && !begun[name] {
					t.Errorf("the second turn of %s came to another SGLang than the first", name)
				}
				begun[name] = true
			}
		}
		if len(begun) == 0 {
			t.Error("one SGLang got nothing")
		}
	}
}

// allowLongPrompts makes the fake servers take prompts of any length.
func (r *running) allowLongPrompts(fakes []*fakeSGLang) {
	for i, f := range fakes {
		f.setInfo("max_req_input_len", 1_000_000)
		f.setInfo("max_total_num_tokens", 10_000_000)
		f.stop()
		b := r.pool.all()[i]
		await(r.t, "it is seen away", func() bool { b.upstream.suspect(); return !b.upstream.state().ready })
		f.start()
	}
	await(r.t, "the limits are known", func() bool {
		for _, b := range r.pool.all() {
			if s := b.upstream.state(); !s.ready || s.limits.maxPromptTokens < 1000 {
				return false
			}
		}
		return true
	})
}

func TestWhatOneSGLangHasCachedGoesElsewhereOnceItHasTooMuchToDo(t *testing.T) {
	r, fakes := startPool(t, 2, func(c *Config) {
		c.Settings.MaxWait, c.Settings.BatchSize, c.Settings.MaxInFlight, c.Settings.MergeIdentical = 0, 2, 1, false
	})
	for _, f := range fakes {
		f.hold = make(chan struct{})
	}
	var ends []<-chan outcome
	for range 20 {
		ends = append(ends, r.send(r.context(), &pb.PrefillRequest{Text: "the same"}))
	}
	await(t, "all wait", func() bool { return r.Pending() == 20 })
	for i, b := range r.pool.all() {
		if load, _ := b.batcher.Load(nil); load < 7 {
			t.Errorf("SGLang %d has %d of 20", i, load)
		}
		close(fakes[i].hold)
	}
	for _, end := range ends {
		if o := <-end; o.err != nil {
			t.Error(o.err)
		}
	}
}

// Under load one SGLang after the other is killed and started again: every
// accepted request is answered, at once, by another.
func TestAnSGLangThatGoesAwayLosesNothingWhileAnotherIsThere(t *testing.T) {
	r, fakes := startPool(t, 3, func(c *Config) {
		c.MaxOutage, c.Settings.BatchSize, c.Settings.MaxWait = time.Hour, 4, time.Millisecond
	})
	var answered atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for caller := range 16 {
		ask := func(req *pb.PrefillRequest) outcome { return <-r.send(r.context(), req) }
		if caller%2 == 0 {
			ask = r.streamed()
		}
		wg.Go(func() {
			for n := 1; ; n = n%7 + 1 {
				select {
				case <-stop:
					return
				default:
				}
				o := ask(&pb.PrefillRequest{Text: strings.Repeat("word ", n)})
				switch {
				case o.err != nil:
					t.Error(o.err)
				case o.reply.PromptTokens != uint32(n):
					t.Errorf("%d words were answered as %d", n, o.reply.PromptTokens)
				}
				answered.Add(1)
			}
		})
	}
	for i, f := range fakes {
		want := answered.Load() + 100
		await(t, "there is load", func() bool { return answered.Load() >= want })
		f.stop()
		await(t, "it is seen away", func() bool { return !r.pool.all()[i].upstream.state().ready })
		want = answered.Load() + 100
		await(t, "the others answer", func() bool { return answered.Load() >= want })
		f.start()
		await(t, "it is back", func() bool { return r.pool.all()[i].upstream.state().ready })
	}
	close(stop)
	wg.Wait()
}

func TestAPromptThatTwoSGLangsWentAwayWithIsNotSentToAThird(t *testing.T) {
	r, fakes := startPool(t, 3, func(c *Config) {
		c.MaxOutage, c.Settings.BatchSize, c.Settings.MaxWait, c.Settings.PrefixOrder = patience, 4, time.Minute, false
	})
	var deaths atomic.Int64
	for _, f := range fakes {
		f.mu.Lock()
		f.refuse = func(c fakeCall) (int, string, bool) {
			if slices.ContainsFunc(c.Text, func(s string) bool { return strings.Contains(s, "deadly") }) {
				deaths.Add(1)
				go f.stop()
				time.Sleep(10 * time.Millisecond)
				panic(http.ErrAbortHandler)
			}
			return 0, "", false
		}
		f.mu.Unlock()
	}
	var ends []<-chan outcome
	for i := range 12 {
		text := fmt.Sprint("prompt ", i)
		if i == 5 {
			text += " deadly"
		}
		ends = append(ends, r.send(r.context(), &pb.PrefillRequest{Text: text}))
	}
	// Each has a batch of four. What is alone later has to wait for no others.
	await(t, "the batches went", func() bool { return r.pool.stats().Accepted >= 12 })
	_, err := r.admin.UpdateSettings(r.context(), update("max_wait", &pb.Settings{}))
	if err != nil {
		t.Fatal(err)
	}
	for i, end := range ends {
		o := <-end
		if bad := i == 5; (o.err != nil) != bad || bad && status.Code(o.err) != codes.Internal {
			t.Errorf("member %d: %v", i, o.err)
		}
	}
	if n := deaths.Load(); n != 2 {
		t.Errorf("%d SGLangs died", n)
	}
}

func TestSettingsFlushAndDrainReachEverySGLang(t *testing.T) {
	r, fakes := startPool(t, 2, nil)
	if _, err := r.admin.UpdateSettings(r.context(), update("batch_size", &pb.Settings{BatchSize: 3})); err != nil {
		t.Fatal(err)
	}
	for _, b := range r.pool.all() {
		if s := b.batcher.Settings(); s.BatchSize != 3 {
			t.Errorf("%+v", s)
		}
	}
	if _, err := r.admin.FlushCache(r.context(), &pb.FlushCacheRequest{}); err != nil {
		t.Error(err)
	}
	fakes[1].busy(true)
	if _, err := r.admin.FlushCache(r.context(), &pb.FlushCacheRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Error(err)
	}
	for range 4 {
		if o := <-r.send(r.context(), &pb.PrefillRequest{Text: "a"}); o.err != nil {
			t.Error(o.err)
		}
	}
	s, err := r.admin.GetStatus(r.context(), &pb.GetStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.GetBackends()) != 2 || s.GetBatcher().GetAnswered() != 4 || len(s.GetRecentBatches()) != 4 ||
		s.GetBackends()[1].GetUpstream().GetUrl() != fakes[1].url() {
		t.Errorf("%v", s)
	}
	if b := s.GetRecentBatches()[0]; b.GetSize() != 1 || b.GetCalls() != 1 || b.GetPromptTokens() != 1 || b.GetSeconds() <= 0 || b.GetUnanswered() != 0 {
		t.Errorf("%v", b)
	}
	if _, err := r.admin.Drain(r.context(), &pb.DrainRequest{}); err != nil {
		t.Error(err)
	}
	if o := <-r.send(r.context(), &pb.PrefillRequest{Text: "a"}); status.Code(o.err) != codes.Unavailable {
		t.Error(o.err)
	}
	if _, err := r.admin.Undrain(r.context(), &pb.UndrainRequest{}); err != nil {
		t.Error(err)
	}
	if o := <-r.send(r.context(), &pb.PrefillRequest{Text: "a"}); o.err != nil {
		t.Error(o.err)
	}
	abort := r.http(http.MethodPost, r.HTTPAddr()+"/abort_request", `{"rid": "mine"}`)
	for i, f := range fakes {
		select {
		case rid := <-f.aborted:
			if rid != "mine" || abort.code != http.StatusOK {
				t.Errorf("%q, %+v", rid, abort)
			}
		case <-time.After(patience):
			t.Errorf("SGLang %d was not asked to abort", i)
		}
	}
}

func TestAnAbortReachesEverySGLangThoughItsClientGoesAtOnce(t *testing.T) {
	r, fakes := startPool(t, 2, nil)
	for range 50 {
		r.http(http.MethodPost, r.HTTPAddr()+"/abort_request", `{"rid": "mine"}`) // closes its connection
		for i, f := range fakes {
			select {
			case <-f.aborted:
			case <-time.After(patience):
				t.Fatalf("SGLang %d was not asked to abort", i)
			}
		}
	}
}

func TestAnUpstreamByNameIsEachOfItsAddresses(t *testing.T) {
	f := newFake(t)
	_, port, _ := net.SplitHostPort(f.addr)
	r := startUnready(t, f, func(c *Config) { c.Upstreams = []string{"dns+http://localhost:" + port} })
	r.awaitHealth(healthpb.HealthCheckResponse_SERVING)
	if o := <-r.send(r.context(), &pb.PrefillRequest{Text: "a"}); o.err != nil {
		t.Error(o.err)
	}
	if !slices.ContainsFunc(r.pool.all(), func(b *backend) bool { return b.client.URL() == f.url() }) {
		t.Error("127.0.0.1 was not found under localhost")
	}
	// Its address goes, with a request waiting that nobody else can take.
	r.pool.meetAll([]string{f.url()}, nil)
	await(t, "it is gone", func() bool {
		return !slices.ContainsFunc(r.pool.all(), func(b *backend) bool { return b.client.URL() == f.url() })
	})
	r.pool.meetAll(nil, []string{f.url()})
	await(t, "it is back", func() bool { return r.readyOnes() > 0 })
	if o := <-r.send(r.context(), &pb.PrefillRequest{Text: "a"}); o.err != nil {
		t.Error(o.err)
	}
}

func TestANameThatIsNotKnownMakesTheProxyNotReadyAndSaysSo(t *testing.T) {
	r := startUnready(t, newFake(t), func(c *Config) { c.Upstreams = []string{"dns+http://nobody.invalid:30000"} })
	await(t, "the name was looked up", func() bool { return strings.Contains(r.log.String(), "can't be looked up") })
	_, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "no SGLang has been found yet") {
		t.Error(err)
	}
	if reply := r.http(http.MethodGet, r.HTTPAddr()+"/server_info", ""); reply.code != http.StatusServiceUnavailable {
		t.Errorf("%+v", reply)
	}
	if s, err := r.admin.GetStatus(r.context(), &pb.GetStatusRequest{}); err != nil || s.GetReady() || s.GetUpstream() != nil {
		t.Errorf("%v, %v", s, err)
	}
}

func TestWrongUpstreamsAreNamed(t *testing.T) {
	for _, upstreams := range [][]string{
		nil, {"http://a:1", "http://a:1"}, {"dns+http://a"}, {"dns+https://a:1"}, {"dns+a"}, {"http://a:1", ""},
	} {
		c := DefaultConfig()
		c.Upstreams = upstreams
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), "upstream: ") {
			t.Errorf("%q: %v", upstreams, err)
		}
	}
}
