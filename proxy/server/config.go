package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"paceline/batcher"
	"paceline/proxy/telemetry"
	"paceline/proxy/upstream"
)

// Config is what a proxy needs to run. Start from DefaultConfig.
type Config struct {
	// Upstream says where SGLang is and how it is used.
	Upstream upstream.Config

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
		Upstream:         upstream.DefaultConfig(),
		Listen:           "127.0.0.1:50051", // gRPC's customary port
		HTTP:             "127.0.0.1:8080",
		Admin:            "127.0.0.1:9090",
		Metrics:          "127.0.0.1:9464", // customary for OpenTelemetry's metrics page
		Settings:         batcher.DefaultSettings(),
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
	if err := c.Upstream.Validate(); err != nil {
		return settingFlag(err)
	}
	if err := c.validateAddresses(); err != nil {
		return err
	}
	if err := c.Settings.Validate(); err != nil {
		return settingFlag(err)
	}
	maxDelay := c.DrainTimeout - sending(c.DrainTimeout)
	switch {
	case c.DrainTimeout <= 0:
		return &ConfigError{"drain-timeout", fmt.Sprintf("must be above 0, got %v", c.DrainTimeout)}
	case c.DrainDelay < 0 || c.DrainDelay >= maxDelay:
		return &ConfigError{"drain-delay",
			fmt.Sprintf("must be from 0 to less than %v, which -drain-timeout leaves for answers, got %v", maxDelay, c.DrainDelay)}
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
	var (
		setting *batcher.SettingError
		field   *upstream.FieldError
	)
	switch {
	case errors.As(err, &setting):
		return &ConfigError{flagName(setting.Field), setting.Problem}
	case errors.As(err, &field):
		return &ConfigError{flagName(field.Field), field.Problem}
	}
	return err
}

func flagName(setting string) string { return strings.ReplaceAll(setting, "_", "-") }

func (c Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return telemetry.Quiet(c.Logger)
}
