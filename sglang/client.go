package sglang

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"unicode"

	"github.com/go-json-experiment/json"
)

// Options are the options of a Client; the zero value is useful.
type Options struct {
	APIKey string // sent as a bearer token; "" sends none

	// Header, if not nil, adds headers that depend on the context of a request, such
	// as a trace.
	Header func(context.Context, http.Header)

	Dial Dial // nil dials TCP
}

// maxResponseBytes is the max bytes of an answer that is read.
const maxResponseBytes = 64 << 20

// Client talks to one SGLang server. It is safe for concurrent use. Its errors are
// *Error, or the context's error when the context ended first.
type Client struct {
	base   string // without a trailing slash
	key    string
	header func(context.Context, http.Header)
	limit  int64 // max bytes of an answer that is read
	client *http.Client
	older  atomic.Bool // the server has no /ready
}

// NewClient returns a client of the server at baseURL: http://host:port, with a path if
// the server has one. It sends nothing yet.
func NewClient(baseURL string, o Options) (*Client, error) {
	base, err := parseBase(baseURL)
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(o.APIKey, unicode.IsControl) { // else net/http would refuse each call
		return nil, errors.New("API key: holds a control character, such as a line's end")
	}
	return &Client{
		base:   base,
		key:    o.APIKey,
		header: o.Header,
		limit:  maxResponseBytes,
		client: &http.Client{
			Transport:     Transport(o.Dial),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// parseBase checks a base URL. Its errors don't quote a URL that may hold a password.
func parseBase(s string) (string, error) {
	if strings.Contains(s, "@") {
		return "", errors.New("URL: holds credentials (an @): give the key apart from it")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", fmt.Errorf("URL %q: not a URL: expected http://host:port", s)
	case u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("URL %q: expected it to begin with http:// or https://", s)
	case u.Hostname() == "":
		return "", fmt.Errorf("URL %q: names no host: expected http://host:port", s)
	case u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("URL %q: expected nothing after the path", s)
	}
	return strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"), nil
}

// URL returns the base URL, without credentials.
func (c *Client) URL() string { return c.base }

// CloseIdle closes the idle connections.
func (c *Client) CloseIdle() { c.client.CloseIdleConnections() }

// callJSON is exchange, and decodes the JSON of the answer into v.
func (c *Client) callJSON(ctx context.Context, method, path string, body []byte, v any) error {
	data, header, err := c.exchange(ctx, method, path, body)
	if err != nil {
		return err
	}
	where := whereOf(method, path)
	if err := wantJSON(where, header); err != nil {
		return err
	}
	if json.Unmarshal(data, v, tolerant) != nil {
		return notExpectedJSON(where)
	}
	return nil
}
