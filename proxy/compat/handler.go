package compat

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"mime"
	"net"
	"net/http"
	pathpkg "path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"paceline/proxy/telemetry"
	"paceline/proxy/upstream"
	"paceline/sglang"
)

// getPaths are the paths of SGLang 0.5.23 without a body that are passed on, besides others
// under /v1/. The paths with a body are in paths. All others are refused: they administer
// the server (weights, cache, profile, sessions) or are unknown. A path that a later version
// adds may do anything.
var getPaths = []string{
	"/", "/ready", "/ping", "/health", "/health_generate", "/metrics",
	"/model_info", "/get_model_info", "/server_info", "/get_server_info", "/api/tags",
	"/v1/models", "/v1/loads",
}

// adminPaths are the administrative paths of SGLang 0.5.23. The list only makes their refusal
// another (403) than that of an unknown path (404): both are refused. A name with a slash at its
// end stands for all paths that begin with it.
var adminPaths = strings.Fields(`
	/add_external_corpus /begin_weight_update /close_session /configure_logging /continue_generation /destroy_weights_update_group
	/dump_expert_distribution_record /dumper/ /end_weight_update /flush_cache /freeze_gc /get_hicache_l3_cache_layout
	/get_remote_instance_transfer_engine_info /get_weights_by_name /hicache/ /init_weights_send_group_for_remote_instance
	/init_weights_update_group /is_scaling_elastic_ep /list_external_corpora /load_lora_adapter /load_lora_adapter_from_tensors
	/open_session /pause_generation /pd_role_switch /release_memory_occupation /remote_instance_transfer_engine_info
	/remove_external_corpus /resume_memory_occupation /scale_elastic_ep /send_weights_to_remote_instance /set_internal_state
	/set_trace_level /slow_down /start_expert_distribution_record /start_profile /stop_expert_distribution_record /stop_profile
	/unload_lora_adapter /update_weight_version /update_weights_from_disk /update_weights_from_distributed /update_weights_from_ipc
	/update_weights_from_tensor /weights_checker
`)

// Options are the settings of a Handler.
type Options struct {
	MaxBytes  int64    // max bytes of a body
	PassAdmin bool     // pass administrative paths on
	Allow     []string // fields that are refused otherwise, and unknown paths under /v1/
	Log       *slog.Logger
	Acts      *slog.Logger // of administrative requests that are passed on
}

// Handler answers SGLang's own HTTP interface. It is safe for concurrent use.
type Handler struct {
	up        *upstream.Upstream
	snapshot  func() *upstream.Snapshot // what is known of SGLang now
	metrics   *telemetry.Metrics        // nil: none
	maxBytes  int64
	passAdmin bool
	allowed   map[string]bool
	log, acts *slog.Logger
	foreign   atomic.Pointer[foreignFields]

	mux   *http.ServeMux
	calls generateCalls
	large chan struct{} // one for each large body that is parsed
	odd   sync.Map      // oddity: what answered in another shape than the table of scoring has
}

// New returns a handler in front of up. metrics may be nil.
func New(up *upstream.Upstream, metrics *telemetry.Metrics, o Options) *Handler {
	h := &Handler{
		up: up, snapshot: up.Snapshot, metrics: metrics, maxBytes: o.MaxBytes, passAdmin: o.PassAdmin,
		allowed: map[string]bool{}, log: o.Log, acts: o.Acts, mux: http.NewServeMux(),
		large: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)), // a CPU stays free
	}
	for _, name := range o.Allow {
		h.allowed[name] = true
	}
	h.mux.HandleFunc("POST /generate", h.generate)
	h.mux.HandleFunc("PUT /generate", h.generate)
	h.mux.HandleFunc("POST /abort_request", h.abortRequest)
	h.mux.HandleFunc("/", h.pass)
	return h
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// Route returns the name of a path in span names and labels. The number of names is
// bounded.
func Route(path string) string {
	_, known := paths[path]
	switch {
	case known, slices.Contains(getPaths, path):
		return path
	case strings.HasPrefix(path, "/v1/"):
		return "/v1/*"
	}
	return "/*"
}

// pass passes a request on, once its body has been checked by the table.
func (h *Handler) pass(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	asks := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
	switch admin := isAdmin(path, asks) && !h.allowed[path]; {
	case admin && !h.passAdmin:
		refusePath(w, path)
	case !admin && !asks && r.Method != http.MethodPost && r.Method != http.MethodPut:
		allow := http.MethodPost
		if slices.Contains(getPaths, path) {
			allow = http.MethodGet
		}
		w.Header().Set("Allow", allow)
		upstream.WriteError(w, http.StatusMethodNotAllowed, path+" takes "+allow+", not "+r.Method)
	case asks, admin:
		if !asks {
			if err := upstream.Reserve(r.Context(), 1); err != nil {
				h.refuse(w, r, err)
				return
			}
		}
		if admin {
			host, _, _ := net.SplitHostPort(r.RemoteAddr) // net/http wrote it
			h.acts.Info("administrative request passed on", "by", upstream.CallerOf(r.Context(), host).Name, "method", r.Method,
				"path", r.URL.RequestURI())
		}
		r.Body = http.MaxBytesReader(w, r.Body, h.maxBytes)
		h.up.Pass(w, r)
	default:
		var body []byte
		var fields map[string]json.RawMessage
		var s *upstream.Snapshot
		ok := h.readBody(w, r, func(b []byte) (err error) {
			if body, s = b, h.snapshot(); path == formPath {
				return checkForm(r.Header, body)
			}
			fields, err = h.check(s, r, body)
			return err
		})
		if ok && !h.collect(w, r, s, body, fields) {
			h.forwardShared(w, r, s, body, fields)
		}
	}
}

// refusePath answers a request for a path that isAdmin holds back.
func refusePath(w http.ResponseWriter, path string) {
	clean := pathpkg.Clean(path)
	if slices.ContainsFunc(adminPaths, func(p string) bool { return p == clean || strings.HasSuffix(p, "/") && strings.HasPrefix(clean, p) }) {
		upstream.WriteError(w, http.StatusForbidden,
			path+" is no path of SGLang's for clients: the data port refuses it (pass_admin passes it on)")
		return
	}
	upstream.WriteError(w, http.StatusNotFound, path+" is not a path that this proxy knows (pass_admin passes it on)")
}

// isAdmin says whether a path administers SGLang, or is not known. A path is one to
// ask at, or one with a body.
func isAdmin(path string, asks bool) bool {
	// A path that is not clean could be another one to SGLang than it is here.
	if strings.Contains(path, "//") || strings.Contains(path, "/.") || strings.Contains(path, "\\") {
		return true
	}
	if slices.Contains(getPaths, path) || path == formPath || asks && strings.HasPrefix(path, "/v1/") {
		return false
	}
	return objectAt(path) == ""
}

// objectAt is the name of the object that a path takes; empty for none.
func objectAt(path string) string {
	if name, known := paths[path]; known {
		return name
	}
	for parent, name := range paths {
		if strings.HasSuffix(parent, "/") && strings.HasPrefix(path, parent) {
			return name
		}
	}
	return ""
}

// check reads a body by the table and what is known of SGLang, and returns its outer fields. It
// refuses a content type that is not JSON's, as SGLang 0.5.23 does on each path, in one sentence instead
// of a list of Python's.
func (h *Handler) check(s *upstream.Snapshot, r *http.Request, body []byte) (map[string]json.RawMessage, error) {
	path := r.URL.Path
	name := cmp.Or(objectAt(path), "anything")
	if len(body) == 0 && name == "anything" {
		return nil, nil
	}
	fields, err := readObject(body, name, h.bounds(path, s))
	if err != nil && s.Limits.VocabSize == 0 && !s.Asked {
		return nil, upstream.NotReady(s.Reason) // what is wrong may be only that nothing is known yet
	}
	if err == nil && path == "/generate" && !isNull(fields["cache_salt"]) && s.Lacks(path, "cache_salt") {
		return nil, upstream.ErrNoSalts
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && kind != jsonType {
		return nil, upstream.WrongField("Content-Type", "must be application/json, got %q", kind)
	}
	return fields, err
}

func (h *Handler) bounds(path string, s *upstream.Snapshot) bounds {
	return bounds{
		Limits: s.Limits, elements: h.up.Queue.Settings().QueueRequests, allowed: h.allowed, foreign: h.foreignFields(s).of[path],
		queued: path == "/generate",
	}
}

// foreignFields are the fields that an SGLang knows and the table does not, by path.
type foreignFields struct {
	known *sglang.RequestFields
	of    map[string]map[string]bool
}

// foreignFields returns those of the SGLang that is there. They are refused: a later
// version may do anything with them. It logs them once.
func (h *Handler) foreignFields(s *upstream.Snapshot) *foreignFields {
	last := h.foreign.Load()
	switch {
	case last != nil && last.known == s.Fields:
		return last
	case s.Fields == nil && !s.Ready: // it has not been asked yet
		return &foreignFields{}
	}
	f := &foreignFields{known: s.Fields, of: map[string]map[string]bool{}}
	var names []string
	if s.Fields != nil {
		for path, fields := range *s.Fields {
			o := objects[objectAt(path)]
			if o == nil {
				continue
			}
			f.of[path] = map[string]bool{}
			for _, name := range fields {
				if _, known := o.fields[name]; !known && len(o.fields) > 0 {
					f.of[path][name] = true
					names = append(names, path+" "+name)
				}
			}
		}
	}
	slices.Sort(names)
	switch {
	case !h.foreign.CompareAndSwap(last, f): // logged by another
	case s.Fields == nil:
		h.log.Warn("SGLang's /openapi.json can't be had: fields that this proxy does not know are passed on unchecked")
	case len(names) > 0:
		h.log.Warn("SGLang knows fields that this proxy does not, and that are refused unless allow_fields names them", "fields", names)
	}
	return f
}

// forward passes a request on after its body was read.
func (h *Handler) forward(w http.ResponseWriter, r *http.Request, body []byte) {
	upstream.SetBody(r, body)
	h.up.Pass(w, r)
}
