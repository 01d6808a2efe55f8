package sglang

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options are the options of a Client; the zero value is useful.
type Options struct {
	APIKey           string // sent as a bearer token; "" sends none
	MaxResponseBytes int64  // longest answer that is read; 0 means 64 MiB
}

const (
	defaultMaxResponseBytes = 64 << 20
	// The server closes a connection that was idle for 5 s (uvicorn's default,
	// measured). Closing it sooner here avoids sending on one that is closing.
	idleTimeout = 4 * time.Second
	dialTimeout = 5 * time.Second
)

// Client talks to one SGLang server. It is safe for concurrent use. Its errors
// are *Error, or the context's error when the context ended first.
type Client struct {
	base   string // without a trailing slash
	key    string
	limit  int64
	client *http.Client
}

// NewClient returns a client of the server at baseURL (http://host:port). It
// sends nothing yet.
func NewClient(baseURL string, o Options) (*Client, error) {
	u, err := url.Parse(baseURL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("URL %q: not a URL: expected http://host:port", baseURL)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("URL %q: expected it to begin with http:// or https://", baseURL)
	case u.Host == "":
		return nil, fmt.Errorf("URL %q: names no host: expected http://host:port", baseURL)
	case u.User != nil:
		return nil, errors.New("URL: holds credentials: give the key apart from it")
	}
	if o.MaxResponseBytes == 0 {
		o.MaxResponseBytes = defaultMaxResponseBytes
	}
	return &Client{
		base:   strings.TrimRight(u.Scheme+"://"+u.Host+u.Path, "/"),
		key:    o.APIKey,
		limit:  o.MaxResponseBytes,
		client: &http.Client{Transport: transport(), CheckRedirect: noRedirect},
	}, nil
}

func transport() *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		IdleConnTimeout:     idleTimeout,
		MaxIdleConns:        0,    // no limit: batches in flight are limited elsewhere
		MaxIdleConnsPerHost: 4096, // the default of 2 would dial anew for nearly every call
		DisableCompression:  true, // answers are small, and loopback is not the bottleneck
		ForceAttemptHTTP2:   false,
		WriteBufferSize:     64 << 10,
		ReadBufferSize:      16 << 10,
	}
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// URL is the base URL, without credentials.
func (c *Client) URL() string { return c.base }

// CloseIdle closes the connections that carry nothing.
func (c *Client) CloseIdle() { c.client.CloseIdleConnections() }

// exchange sends one request and reads its whole answer; any status but 200 is
// an *Error.
func (c *Client) exchange(ctx context.Context, method, path string, body []byte) ([]byte, http.Header, error) {
	where := method + " " + pathOnly(path)
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, fmt.Errorf("sglang: %s: %w", where, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	// A nil value is not sent; it tells net/http that repeating the request is
	// safe, so that one lost to a closing idle connection is sent again on a new
	// one. Prefill, abort and flush are all safe to repeat.
	req.Header["Idempotency-Key"] = nil
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	res, err := c.client.Do(req)
	if err != nil {
		return nil, nil, c.transportError(ctx, where, err)
	}
	defer res.Body.Close() //nolint:errcheck // the body has been read, or its error is reported
	data, err := io.ReadAll(io.LimitReader(res.Body, c.limit+1))
	switch {
	case err != nil:
		return nil, nil, c.transportError(ctx, where, err)
	case int64(len(data)) > c.limit:
		return nil, nil, &Error{Where: where, Status: res.StatusCode, Kind: KindProtocol, Message: fmt.Sprintf("the answer is longer than %d bytes", c.limit)}
	case res.StatusCode != http.StatusOK:
		return nil, nil, errorFromBody(where, res.StatusCode, data)
	}
	return data, res.Header, nil
}

// transportError is the error of a call that brought no whole answer.
func (c *Client) transportError(ctx context.Context, where string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("sglang: %s: %w", where, ctx.Err())
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // the URL is known, and may hold more than it should
	}
	return &Error{Where: where, Kind: KindUnreachable, Message: err.Error(), cause: err}
}

// getJSON reads a JSON document into v.
func (c *Client) getJSON(ctx context.Context, path string, v any) error {
	data, header, err := c.exchange(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	where := "GET " + pathOnly(path)
	if err := wantJSON(where, header); err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return &Error{Where: where, Status: http.StatusOK, Kind: KindProtocol, Message: "the answer is not the expected JSON"}
	}
	return nil
}

func wantJSON(where string, h http.Header) error {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err == nil && kind == "application/json" {
		return nil
	}
	return &Error{Where: where, Status: http.StatusOK, Kind: KindProtocol, Message: fmt.Sprintf("the answer's content type is %.60q, expected application/json", h.Get("Content-Type"))}
}

func pathOnly(path string) string {
	path, _, _ = strings.Cut(path, "?")
	return path
}
