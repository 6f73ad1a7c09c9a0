// The bytes behind a reference that a request makes: a data: URL, an http(s): URL, a file: URL.
//
// References come from strangers, and so this is where server-side request forgery is kept out: one parser of
// URLs, and what it understood is what is used; hosts and folders are refused unless they were allowed; no
// redirects; a host's addresses are looked up once, refused if any is not public, and the connection goes to
// an address that was checked.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace heed {

struct MediaPolicy {
  std::vector<std::string>
      domains;         // --allowed-media-domains: hosts; ".example.com": any below; none: no http(s)
  std::string folder;  // --allowed-media-path: files below it; "": no files
  int64_t bytes = int64_t{32} << 20;  // of one file
  double seconds = 10;                // for one download, from look-up to last byte
  bool allow_private = false;         // addresses of private networks too: for tests
};

class MediaFetcher {
 public:
  explicit MediaFetcher(MediaPolicy policy) : policy_(std::move(policy)) {}

  // From any thread; blocks. Errors: kInvalid for a reference that is not understood, kUnsupported for one
  // that is not allowed (it says which option would allow it), kLimit for too many bytes.
  Result<std::string> fetch(std::string_view reference) const;

 private:
  MediaPolicy policy_;
};

}  // namespace heed
