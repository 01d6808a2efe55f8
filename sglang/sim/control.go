package sim

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func (s *Server) controlRoutes() {
	s.route("/flush_cache", s.flush, "GET", "POST")
	s.route("/abort_request", s.abort, "POST")
}

// longestFlush bounds ?timeout=, in simulated seconds; what is beyond is no time.
const longestFlush = 1e6

// flush empties the cache, unless anything runs until ?timeout= simulated
// seconds have passed.
func (s *Server) flush(w http.ResponseWriter, r *http.Request) {
	timeout, err := strconv.ParseFloat(r.URL.Query().Get("timeout"), 64)
	if err != nil || !(timeout > 0 && timeout < longestFlush) { // NaN too
		timeout = 0
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	flushed, err := s.scheduler.flush(time.Now().Add(s.clock.real(timeout)), r.Context().Done())
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if !flushed {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, "Flush cache failed.\n")
		return
	}
	_, _ = io.WriteString(w, "Cache flushed.\nPlease check backend logs for more details. (When there are running or waiting requests, the operation will not be performed.)\n")
}

// abort ends every request whose rid begins with the one given. It answers 200
// whatever it found.
func (s *Server) abort(w http.ResponseWriter, r *http.Request) {
	var body struct {
		RID string `json:"rid"`
		All bool   `json:"abort_all"`
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err == nil && json.Unmarshal(data, &body) == nil && (body.All || body.RID != "") {
		s.scheduler.abort(func(j *job) bool { return body.All || strings.HasPrefix(j.rid, body.RID) })
	}
	w.WriteHeader(http.StatusOK)
}
