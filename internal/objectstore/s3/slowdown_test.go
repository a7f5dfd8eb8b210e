package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/s3"
	"breakwater/internal/reach"
	"breakwater/lab/server/miniotest"
)

// slowStore is a proxy that answers the first few times, to each request that it
// has not seen, that one should slow down; and says so of single keys of a bulk
// deletion, too.
type slowStore struct {
	next  http.Handler
	times int

	mu   sync.Mutex
	seen map[string]int
	said int
}

func (s *slowStore) slow(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[what]++
	if s.seen[what] > s.times {
		return false
	}
	s.said++
	return true
}

var keysOf = regexp.MustCompile(`(?s)<Object>.*?<Key>(.*?)</Key>.*?</Object>`)

func (s *slowStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.slow(r.Method + r.URL.String()) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusServiceUnavailable)
		if r.Method != http.MethodHead {
			fmt.Fprint(w, `<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`)
		}
		return
	}
	if !r.URL.Query().Has("delete") {
		s.next.ServeHTTP(w, r)
		return
	}
	// Answer for one key what AWS answers for a key whose partition is hot.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	key := string(keysOf.FindSubmatch(body)[1])
	rec := httptest.NewRecorder()
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.next.ServeHTTP(rec, r)
	answer := rec.Body.String()
	if s.slow("one " + key) {
		answer = strings.Replace(answer, "</DeleteResult>", "<Error><Key>"+key+"</Key><Code>SlowDown</Code><Message>slow</Message></Error></DeleteResult>", 1)
	}
	w.WriteHeader(rec.Code)
	fmt.Fprint(w, answer)
}

// TestSlowDown asks a store that is asked too often: everything is done, later.
func TestSlowDown(t *testing.T) {
	t.Parallel()
	s := miniotest.Shared(t)
	lake := miniotest.Unique("lake")
	u, err := url.Parse(s.Endpoint)
	must(t, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u); r.Out.Host = r.In.Host }}
	for _, tc := range []struct {
		times int
		works bool
	}{{4, true}, {1000, false}} {
		slow := &slowStore{next: proxy, times: tc.times, seen: map[string]int{}}
		front := httptest.NewServer(slow)
		t.Cleanup(front.Close)
		cfg := s.Config()
		cfg.Endpoint = front.URL
		c, err := s3.New(cfg)
		must(t, err)
		if !tc.works {
			if _, err := c.Head(t.Context(), lake, "k"); !errors.Is(err, reach.ErrUnseen) || reach.Unreachable(err) || !strings.Contains(err.Error(), "slow down") {
				t.Errorf("of a store that only says to slow down: %v", err)
			}
			if slow.said < 8 || slow.said > 12 {
				t.Errorf("it was asked %d times", slow.said)
			}
			continue
		}
		must(t, s.Client(t).CreateBucket(t.Context(), lake, true))
		o, err := c.Put(t.Context(), lake, "k", []byte("one"))
		must(t, err)
		_, err = c.Put(t.Context(), lake, "k", []byte("two"))
		must(t, err)
		_, err = c.Head(t.Context(), lake, "k")
		must(t, err)
		n := 0
		for _, err := range c.ListVersions(t.Context(), lake, "") {
			must(t, err)
			n++
		}
		k := &s3.Copier{Client: c}
		_, err = k.Copy(t.Context(), objectstore.CopyRequest{
			From: objectstore.Source{Bucket: lake, Key: "k", VersionID: o.VersionID, ETag: o.ETag}, Size: 3, Bucket: lake, Key: "k",
		})
		must(t, err)
		done, err := c.DeleteMany(t.Context(), lake, []objectstore.Deletion{{Key: "k"}, {Key: "l"}})
		if err != nil || done != 2 || n != 2 {
			t.Errorf("DeleteMany = %d, %v; %d versions listed", done, err, n)
		}
		if slow.said < 5*tc.times {
			t.Errorf("the store said to slow down %d times only", slow.said)
		}
	}
}
