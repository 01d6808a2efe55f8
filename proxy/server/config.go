package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"paceline/batcher"
	"paceline/proxy/telemetry"
	"paceline/sglang"
)

// Config is what a proxy needs to run. Start from DefaultConfig.
type Config struct {
	// Upstreams are the base URLs of SGLang: http://host:port. Of several each
	// gets a batcher of its own, and a prompt goes to the one that has its beginning
	// cached, unless that has too much to do. dns+http://name:port stands for one
	// SGLang at each address of the name, which is looked up again all the time.
	Upstreams []string

	// UpstreamKey is SGLang's API key; empty sends none.
	UpstreamKey string

	// Listen is the host:port of gRPC. Port 0 lets the system choose.
	Listen string

	// HTTP is the host:port of REST; empty turns it off.
	HTTP string

	// Admin is the host:port of AdminService, gRPC and REST; empty turns it
	// off. Whoever reaches it may drain the proxy: on loopback anybody, beyond it
	// whoever has a certificate of TLSClientCA or else an admin key of KeysFile.
	Admin string

	// Metrics is the host:port of the page for Prometheus, /metrics, and of /healthz
	// and /readyz; empty turns it off. It tells no prompt and changes nothing, and asks
	// for no key and no certificate.
	Metrics string

	// TLSCert and TLSKey are the files of the certificate for Listen and HTTP, and
	// for Admin beyond loopback; empty for no TLS. With TLSClientCA clients need a
	// certificate of that authority. Rotated files hold for the next connection.
	TLSCert, TLSKey, TLSClientCA string

	// KeysFile lists the bearer keys of callers (YAML: name, key, weight,
	// requests_per_second, admin); empty asks for none. It is followed.
	KeysFile string

	// Settings are the batching settings at the start.
	Settings batcher.Settings

	// VocabSize is the number of token ids that the model knows. 0 finds it out
	// where SGLang's model folder can be read from here; where it can't,
	// requests with token_ids are refused, because an id outside the vocabulary
	// can end SGLang (seen on 0.5.23).
	VocabSize int

	// Tokenizer is the tokenizer.json of the served model, TokenizerAuto or
	// TokenizerNone (the same as empty). With one that makes the ids SGLang
	// makes, texts are sent as token ids: a list of ids reaches SGLang's
	// scheduler whole, and SGLang need not tokenize.
	Tokenizer string

	// StreamAnswers has SGLang answer each prompt of a batch as soon as it is
	// done, and not all with the last. The batch's slot is free after the last
	// in any case.
	StreamAnswers bool

	// MaxOutage is how long accepted requests wait for SGLang to come back after
	// it went away, as for a restart. 0 fails them at once.
	MaxOutage time.Duration

	// PassAdmin passes SGLang's administrative paths on at the data port, which
	// otherwise refuses them.
	PassAdmin bool

	// DrainDelay is how long new requests are still taken once health says
	// NOT_SERVING, in a drain and at the end, for those who choose a proxy by health
	// or by name and hear of it late. gRPC clients need none at the end: their
	// connections tell them to go (GOAWAY), and what they sent before is taken.
	DrainDelay time.Duration

	// DrainTimeout is the longest time from the end of Run's context to the end
	// of Run. What has not been answered by then is cut.
	DrainTimeout time.Duration

	// MaxConnectionAge is how long a gRPC connection may be used before its client
	// is asked to make another, so that clients find proxies that came later; calls
	// on it end in peace. 0 sets no bound.
	MaxConnectionAge time.Duration

	// CallLoadReports tells the load of the proxy in the trailers of each call
	// (ORCA), for balancers that weigh by it. Those that ask once in a while are
	// answered in any case.
	CallLoadReports bool

	// TracerProvider makes the spans; nil makes none. Propagator reads callers' traces
	// and tells SGLang ours; nil is W3C's traceparent.
	TracerProvider trace.TracerProvider
	Propagator     propagation.TextMapPropagator

	// Spans tells for the metrics what became of the spans; nil where there are none.
	Spans func() telemetry.Spans

	// TraceDetail is TraceDetailMembers (the same as empty), where a batch's trace has
	// a row for each prompt, or TraceDetailLinks, where it has only links to them.
	TraceDetail string

	// MaxMessageBytes is the largest request, over gRPC and REST.
	MaxMessageBytes int

	// Logger receives the proxy's own log; nil logs nothing.
	Logger *slog.Logger

	// Version is told in the status.
	Version string
}

// What Config.TraceDetail may be.
const (
	TraceDetailMembers = "members"
	TraceDetailLinks   = "links"
)

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Upstreams:        []string{"http://127.0.0.1:30000"}, // SGLang's own default port
		Listen:           "127.0.0.1:50051",                  // gRPC's customary port
		HTTP:             "127.0.0.1:8080",
		Admin:            "127.0.0.1:9090",
		Metrics:          "127.0.0.1:9464", // customary for OpenTelemetry's metrics page
		Settings:         batcher.DefaultSettings(),
		Tokenizer:        TokenizerAuto,
		MaxOutage:        5 * time.Minute,  // a model of 70 billion parameters loads in less
		DrainTimeout:     25 * time.Second, // within the 30 s that Kubernetes gives
		TraceDetail:      TraceDetailMembers,
		MaxConnectionAge: 30 * time.Minute,
		MaxMessageBytes:  64 << 20, // a prompt of 16 million token ids
		Version:          "devel",
	}
}

// ConfigError names a configuration value that can't be used.
type ConfigError struct {
	Field   string // as its flag is called: batch-size
	Problem string // what was expected and what came
}

// Error implements error.
func (e *ConfigError) Error() string { return e.Field + ": " + e.Problem }

// Validate returns a *ConfigError naming the first value that can't be used, or
// nil.
func (c Config) Validate() error {
	if err := c.validateUpstreams(); err != nil {
		return &ConfigError{"upstream", err.Error()}
	}
	if err := c.validateAddresses(); err != nil {
		return err
	}
	if err := c.Settings.Validate(); err != nil {
		return settingFlag(err)
	}
	switch {
	case c.VocabSize < 0:
		return &ConfigError{"vocab-size", fmt.Sprintf("must be at least 0, got %d", c.VocabSize)}
	case c.MaxOutage < 0:
		return &ConfigError{"max-outage", fmt.Sprintf("must be at least 0, got %v", c.MaxOutage)}
	case c.DrainTimeout <= 0:
		return &ConfigError{"drain-timeout", fmt.Sprintf("must be above 0, got %v", c.DrainTimeout)}
	case c.DrainDelay < 0 || c.DrainDelay >= c.DrainTimeout-sending(c.DrainTimeout):
		return &ConfigError{"drain-delay", fmt.Sprintf("must be from 0 to less than %v, which -drain-timeout leaves for answers, got %v", c.DrainTimeout-sending(c.DrainTimeout), c.DrainDelay)}
	case c.TraceDetail != "" && c.TraceDetail != TraceDetailMembers && c.TraceDetail != TraceDetailLinks:
		return &ConfigError{"trace-detail", fmt.Sprintf("must be members or links, got %q", c.TraceDetail)}
	case c.MaxConnectionAge < 0:
		return &ConfigError{"max-connection-age", fmt.Sprintf("must be at least 0, got %v", c.MaxConnectionAge)}
	case c.MaxMessageBytes < 1:
		return &ConfigError{"max-message-bytes", fmt.Sprintf("must be at least 1, got %d", c.MaxMessageBytes)}
	}
	return nil
}

func (c Config) validateAddresses() error {
	if c.Listen == "" {
		return &ConfigError{"listen", "must be host:port, got nothing"}
	}
	for _, a := range []struct{ field, addr string }{
		{"listen", c.Listen}, {"http", c.HTTP}, {"admin", c.Admin}, {"metrics", c.Metrics},
	} {
		if a.addr == "" {
			continue
		}
		if err := validateAddress(a.addr); err != nil {
			return &ConfigError{a.field, err.Error()}
		}
	}
	if c.Admin != "" && !c.adminIsLocal() && c.TLSClientCA == "" && c.KeysFile == "" {
		return &ConfigError{"admin", fmt.Sprintf(
			"must be a loopback address (127.0.0.1:9090) without -tls-client-ca and -keys, got %q", c.Admin)}
	}
	return nil
}

// adminIsLocal says whether Admin is on loopback, where it asks for no key.
func (c Config) adminIsLocal() bool {
	host, _, _ := net.SplitHostPort(c.Admin)
	return loopback(host)
}

func validateAddress(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("must be host:port, got %q", addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("must end in a port from 0 to 65535, got %q", addr)
	}
	return nil
}

// loopback reports whether host can only be reached from this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// settingFlag names a setting as its flag is called.
func settingFlag(err error) error {
	var setting *batcher.SettingError
	if !errors.As(err, &setting) {
		return err
	}
	return &ConfigError{strings.ReplaceAll(setting.Field, "_", "-"), setting.Problem}
}

func (c Config) validateUpstreams() error {
	if len(c.Upstreams) == 0 {
		return errors.New("must be at least one URL, got none")
	}
	for i, u := range c.Upstreams {
		base, byName := dnsName(u)
		client, err := sglang.NewClient(base, sglang.Options{APIKey: c.UpstreamKey})
		if err != nil {
			return err
		}
		client.CloseIdle()
		if at, _ := url.Parse(base); byName && (at.Scheme != "http" || at.Port() == "") {
			return fmt.Errorf("must be dns+http://name:port, got %q", u)
		}
		if slices.Contains(c.Upstreams[:i], u) {
			return fmt.Errorf("must name each SGLang once, got %q twice", u)
		}
	}
	return nil
}

func (c Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return Quiet(c.Logger)
}
