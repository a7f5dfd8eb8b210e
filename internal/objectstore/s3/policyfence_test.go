package s3_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/policy"
	"breakwater/internal/objectstore/s3"
	"breakwater/internal/objectstore/storetest"
)

func admin(t testing.TB, endpoint string) *s3.Admin {
	t.Helper()
	a, err := s3.NewAdmin(s3.Config{Endpoint: endpoint, AccessKey: "a", SecretKey: "b", PathStyle: true})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// policyStore keeps one bucket's policy as it got it.
type policyStore struct {
	mu     sync.Mutex
	doc    string
	writes int
	// race runs after each write, as another administrator.
	race func(doc string) string
}

func (p *policyStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.URL.Path != "/lake" || !r.URL.Query().Has("policy") {
		w.WriteHeader(http.StatusNotImplemented)
		return
	}
	switch r.Method {
	case http.MethodGet:
		if p.doc == "" {
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `<Error><Code>NoSuchBucketPolicy</Code></Error>`) //nolint:errcheck // the client would notice
			return
		}
		io.WriteString(w, p.doc) //nolint:errcheck // the client would notice
	case http.MethodPut:
		body, err := io.ReadAll(r.Body)
		if err != nil || !json.Valid(body) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		p.doc = string(body)
		p.wrote()
		w.WriteHeader(http.StatusNoContent)
	case http.MethodDelete:
		p.doc = ""
		p.wrote()
		w.WriteHeader(http.StatusNoContent)
	}
}

func (p *policyStore) wrote() {
	p.writes++
	if p.race != nil {
		p.doc = p.race(p.doc)
	}
}

const (
	etl    = "arn:aws-cn:iam::123456789012:role/etl"
	loader = "arn:aws-cn:iam::123456789012:user/loader"
	// Oddly formatted on purpose: undo must give back these very bytes.
	someones = "{ \"Id\":\"x\",\n\"Version\":\"2012-10-17\", \"Statement\" : [ {\"Sid\":\"PublicRead\",\"Effect\":\"Allow\",\"Principal\":\"*\"," +
		"\"Action\":[\"s3:GetObject\"],\"Resource\":\"arn:aws:s3:::lake/*\",\"Condition\":{\"NumericLessThan\":{\"x\":12345678901234567890}}} ] }"
	single = `{"Version":"2012-10-17","Statement":{"Sid":"One","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::lake/*"}}`
)

func TestBucketPolicyFence(t *testing.T) {
	for name, doc := range map[string]string{"no policy": "", "someone's policy": someones, "a single statement": single} {
		t.Run(name, func(t *testing.T) {
			fake := &policyStore{doc: doc}
			srv := httptest.NewServer(fake)
			defer srv.Close()
			f := admin(t, srv.URL).Fence("lake", []string{loader, etl})
			before, err := f.Read(t.Context())
			if err != nil || before.Closed || before.Run != "" || before.Base != doc {
				t.Fatalf("Read = %+v, %v", before, err)
			}
			for range 2 {
				if err := f.Close(t.Context(), before, "r-1"); err != nil {
					t.Fatal(err)
				}
			}
			if fake.writes != 1 {
				t.Errorf("closing twice wrote %d times", fake.writes)
			}
			checkDocument(t, fake.doc, doc)
			closed, err := f.Read(t.Context())
			if err != nil || !closed.Closed || closed.Run != "r-1" {
				t.Fatalf("closed: Read = %+v, %v", closed, err)
			}
			if err := f.Close(t.Context(), closed, "r-2"); !errors.Is(err, objectstore.ErrFenced) {
				t.Errorf("another run's Close = %v, want ErrFenced", err)
			}
			if err := f.Open(t.Context(), before, "r-2"); !errors.Is(err, objectstore.ErrFenced) {
				t.Errorf("another run's Open = %v, want ErrFenced", err)
			}
			kept := fake.doc

			fake.doc = strings.Replace(fake.doc, "s3:Delete*", "s3:DeleteObject", 1)
			if st, err := f.Read(t.Context()); err != nil || st.Closed || st.Run != "r-1" {
				t.Errorf("weakened: Read = %+v, %v; want it not closed", st, err)
			}
			if err := f.Close(t.Context(), before, "r-1"); err != nil {
				t.Errorf("mending it: %v", err)
			}
			fake.doc = strings.Replace(kept, `"Statement":[`, `"Statement":[{"Sid":"New","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"},`, 1)
			if fake.doc == kept {
				t.Fatal("the injected statement is not there: the test proves nothing")
			}
			if err := f.Open(t.Context(), before, "r-1"); !errors.Is(err, objectstore.ErrChanged) || !strings.Contains(fake.doc, "breakwater-r-1") {
				t.Errorf("Open over somebody's change = %v, want ErrChanged and the fence still there", err)
			}
			again, err := f.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Open(t.Context(), again, "r-1"); err != nil || strings.Contains(fake.doc, "breakwater-r-1") || !strings.Contains(fake.doc, `"New"`) {
				t.Errorf("Open on what was read again = %v, policy %s", err, fake.doc)
			}
			fake.doc = kept

			for range 2 {
				if err := f.Open(t.Context(), before, "r-1"); err != nil {
					t.Fatal(err)
				}
			}
			if fake.doc != doc {
				t.Errorf("opened: the policy is\n%s\nwant, byte for byte,\n%s", fake.doc, doc)
			}
		})
	}
}

// checkDocument holds a closed policy against the one before it.
func checkDocument(t *testing.T, got, before string) {
	t.Helper()
	var p struct {
		ID        string `json:"Id"`
		Version   string
		Statement []json.RawMessage
	}
	if err := json.Unmarshal([]byte(got), &p); err != nil {
		t.Fatal(err)
	}
	if p.Version != "2012-10-17" || (p.ID == "x") != (before == someones) {
		t.Errorf("policy = %s", got)
	}
	if before == someones && !strings.Contains(string(p.Statement[0]), "12345678901234567890") {
		t.Errorf("a number lost its digits: %s", p.Statement[0])
	}
	var s struct {
		Sid, Effect string
		Principal   struct{ AWS []string }
		Action      []string
		Resource    []string
	}
	if err := json.Unmarshal(p.Statement[len(p.Statement)-1], &s); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(s.Sid, "breakwater-r-1-") || s.Effect != "Deny" || strings.Join(s.Principal.AWS, " ") != etl+" "+loader ||
		strings.Join(s.Resource, " ") != "arn:aws-cn:s3:::lake arn:aws-cn:s3:::lake/*" {
		t.Errorf("statement = %+v", s)
	}
}

func TestBucketPolicyFenceRefuses(t *testing.T) {
	fake := &policyStore{doc: someones}
	srv := httptest.NewServer(fake)
	defer srv.Close()
	a := admin(t, srv.URL)
	f := a.Fence("lake", []string{etl})
	before, err := f.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Fence("lake", nil).Close(t.Context(), before, "r1"); err == nil {
		t.Error("a fence without writers was closed")
	}
	if err := f.Close(t.Context(), before, "no spaces, please"); err == nil {
		t.Error("a run id that cannot name a fence was accepted")
	}
	fake.doc = single
	if err := f.Close(t.Context(), before, "r1"); !errors.Is(err, objectstore.ErrChanged) {
		t.Errorf("Close on a changed policy = %v, want ErrChanged", err)
	}
	fake.doc = `{"Statement": [`
	if _, err := f.Read(t.Context()); err == nil {
		t.Error("a torn policy was read")
	}
	if fake.writes != 0 {
		t.Errorf("refusals wrote %d times", fake.writes)
	}
	fake.doc = someones
	fake.race = func(string) string { return single } // somebody overwrites it at once
	if err := f.Close(t.Context(), before, "r1"); !errors.Is(err, objectstore.ErrChanged) {
		t.Errorf("Close in a race = %v, want ErrChanged", err)
	}
}

// TestFenceConformance: the fake denies nobody, so that only what is written is looked at.
func TestFenceConformance(t *testing.T) {
	for name, doc := range map[string]string{"no policy": "", "someone's policy": someones} {
		t.Run(name, func(t *testing.T) {
			storetest.RunFence(t, func(t testing.TB) storetest.Fenced {
				fake := &policyStore{doc: doc}
				srv := httptest.NewServer(fake)
				t.Cleanup(srv.Close)
				a := admin(t, srv.URL)
				return storetest.Fenced{
					Bucket: "lake", Fence: func() objectstore.Fence { return a.Fence("lake", []string{loader, etl}) }, Nobody: a.Fence("lake", nil),
					Change: func(testing.TB) { fake.change(t, true) }, Restore: func(testing.TB) { fake.change(t, false) },
				}
			})
		})
	}
}

// change adds a statement of somebody's, or takes it away.
func (p *policyStore) change(t testing.TB, add bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, err := policy.Parse(p.doc)
	if err == nil && add {
		err = f.Add(policy.Statement{Sid: "New", Effect: policy.Deny, Action: []string{"s3:*"}, Resource: []string{"*"}})
	} else if err == nil {
		_, err = f.Take(func(sid string) bool { return sid == "New" })
	}
	if err == nil {
		p.doc, err = f.Text()
	}
	if err != nil {
		t.Fatal(err)
	}
}
