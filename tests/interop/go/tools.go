//go:build tools

// Package tools names the programs that the tests run, so that go.mod pins them with all that they need.
package tools

import (
	_ "github.com/fullstorydev/grpcurl/cmd/grpcurl"
	_ "github.com/summerwind/h2spec/cmd/h2spec"
)
