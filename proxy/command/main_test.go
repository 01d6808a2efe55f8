package command

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWrongFlagsEndWithOneLineAndCode2(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"-batch-size 0", "-batch-size many", "-max-wait -1s", "-max-wait 5", "-max-in-flight 0",
		"-queue-requests 0", "-queue-bytes 0", "-upstream localhost", "-listen 1", "-http 1", "-admin 0.0.0.0:1",
		"-vocab-size -1", "-drain-timeout 0s", "-mode magic", "-log-format xml", "-upstream-key-file " + empty,
	} {
		var stdout, stderr bytes.Buffer
		code := run(strings.Fields(args), nil, &stdout, &stderr, nil)
		name, _, _ := strings.Cut(args, " ")
		message := stderr.String()
		if code != exitBadInput || strings.Count(message, "\n") != 1 || !strings.Contains(message, name) || stdout.Len() > 0 {
			t.Errorf("%s: %d %q", args, code, message)
		}
	}
}

func TestArgumentsThatAreNoFlagsAreRefused(t *testing.T) {
	var stderr bytes.Buffer
	if code := run([]string{"-batch-size", "4", "extra"}, nil, io.Discard, &stderr, nil); code != exitBadInput ||
		!strings.Contains(stderr.String(), `"extra"`) {
		t.Errorf("%d %s", code, &stderr)
	}
}

func TestHelpAndVersionEndWell(t *testing.T) {
	for args, want := range map[string]string{"-h": "go run ./proxy -upstream", "-version": "proxy "} {
		var stdout, stderr bytes.Buffer
		if code := run([]string{args}, nil, &stdout, &stderr, nil); code != exitOK || !strings.Contains(stdout.String(), want) ||
			stderr.Len() > 0 {
			t.Errorf("%s: %d %s%s", args, code, &stdout, &stderr)
		}
	}
}

func TestAnAddressInUseEndsWithCode1(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var stderr bytes.Buffer
	if code := run([]string{"-listen", l.Addr().String()}, nil, io.Discard, &stderr, nil); code != exitFailed ||
		!strings.Contains(stderr.String(), "listen: ") {
		t.Errorf("%d %s", code, &stderr)
	}
}

// process is run on a goroutine, with its log. Lines that nobody reads do not hold it up.
type process struct {
	t       *testing.T
	signals chan os.Signal
	log     chan []byte
	code    chan int
}

func startProcess(t *testing.T, upstream string, more ...string) *process {
	read, write := io.Pipe()
	p := &process{t: t, signals: make(chan os.Signal, 2), log: make(chan []byte, 1000), code: make(chan int, 1)}
	go func() {
		defer close(p.log)
		for lines := bufio.NewScanner(read); lines.Scan(); {
			p.log <- bytes.Clone(lines.Bytes())
		}
	}()
	go func() {
		code := run(append([]string{
			"-upstream", upstream, "-listen", "127.0.0.1:0", "-http", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-metrics", "127.0.0.1:0",
			"-max-wait", "0s", "-log-format", "json",
		}, more...), nil, io.Discard, write, p.signals)
		p.code <- code
		_ = write.Close()
	}()
	return p
}

// line returns the next log line with this message.
func (p *process) line(message string) map[string]any {
	p.t.Helper()
	for line := range p.log {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			p.t.Fatal(err)
		}
		if strings.HasPrefix(m["msg"].(string), message) {
			return m
		}
	}
	p.t.Fatalf("no line %q", message)
	return nil
}

// wait returns the exit code.
func (p *process) wait() int {
	select {
	case code := <-p.code:
		return code
	case <-time.After(20 * time.Second):
		p.t.Fatal("still running")
		return 0
	}
}

// slowSGLang is ready, and answers prompts only after a call of answer.
type slowSGLang struct {
	url    string
	asked  chan struct{} // one for each call that has arrived
	answer func()        // lets it answer these calls and all later ones
	stop   func()        // ends it; may be called again
}

func startSlowSGLang(t *testing.T) slowSGLang {
	asked, may := make(chan struct{}, 10), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /server_info", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"served_model_name":"tiny","max_req_input_len":100}`)
	})
	mux.HandleFunc("POST /abort_request", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /generate", func(w http.ResponseWriter, r *http.Request) {
		var call struct{ RID []string }
		_ = json.NewDecoder(r.Body).Decode(&call)
		asked <- struct{}{}
		select {
		case <-may:
		case <-r.Context().Done():
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `[{"text":"","output_ids":[],"meta_info":{"id":%q,"prompt_tokens":1}}]`, call.RID[0])
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, ended := &http.Server{Handler: mux}, make(chan struct{})
	go func() { defer close(ended); _ = s.Serve(l) }()
	stop := func() { _ = s.Close(); <-ended }
	t.Cleanup(stop)
	return slowSGLang{"http://" + l.Addr().String(), asked, func() { close(may) }, stop}
}

// ask posts one prompt and returns a channel for its HTTP status; 0 for none.
func ask(addr string) <-chan int {
	status := make(chan int, 1)
	go func() {
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		res, err := (&http.Client{Transport: transport}).Post("http://"+addr+"/v1/prefill", "application/json",
			strings.NewReader(`{"text":"a"}`))
		if err != nil {
			status <- 0
			return
		}
		_ = res.Body.Close()
		status <- res.StatusCode
	}()
	return status
}

func TestTheFirstSignalDrainsAndEndsWell(t *testing.T) {
	s := startSlowSGLang(t)
	p := startProcess(t, s.url)
	addr := p.line("listening")["http"].(string)
	if m := p.line("ready"); m["model"] != "tiny" {
		t.Errorf("got %v", m)
	}
	status := ask(addr)
	<-s.asked
	p.signals <- syscall.SIGTERM
	if m := p.line("stopping"); m["pending"] != 1.0 {
		t.Errorf("got %v", m)
	}
	s.answer()
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if got := <-status; got != http.StatusOK {
		t.Errorf("the accepted request got %d", got)
	}
}

func TestTheSecondSignalEndsAtOnceAndCountsWhatItCut(t *testing.T) {
	s := startSlowSGLang(t)
	p := startProcess(t, s.url)
	addr := p.line("listening")["http"].(string)
	p.line("ready")
	status := ask(addr)
	<-s.asked
	p.signals <- syscall.SIGTERM
	p.line("stopping")
	p.signals <- syscall.SIGTERM
	if m := p.line("stopped at once"); m["requests_cut"] != 1.0 {
		t.Errorf("got %v", m)
	}
	if code := p.wait(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	s.answer() // a real process would be gone now; here its goroutines end by themselves
	<-status
}

func TestItStartsWithoutSGLangAndSaysWhy(t *testing.T) {
	p := startProcess(t, "http://127.0.0.1:1")
	p.line("listening")
	if m := p.line("not ready: "); !strings.Contains(m["msg"].(string), "can't be reached") {
		t.Errorf("got %v", m)
	}
	p.signals <- os.Interrupt
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestAWrongVariableOfTracingEndsWithItsNameAndCode2(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "pigeon")
	var stderr bytes.Buffer
	if code := run(nil, nil, io.Discard, &stderr, nil); code != exitBadInput ||
		!strings.HasPrefix(stderr.String(), "proxy: OTEL_TRACES_EXPORTER: must be otlp, console or none") {
		t.Errorf("%d %s", code, &stderr)
	}
}
