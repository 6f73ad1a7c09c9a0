// Why the transport itself turns a request away, and the OpenAI error object that says so.
#pragma once
#include <string>

namespace heed::http {

struct Refusal {
  int status = 400;
  std::string message;  // names the limit or the field; never an address or a header's value
  std::string type = "invalid_request_error";  // as OpenAI's API has it
  std::string code = "bad_request";
};

// {"error":{"message":...,"type":...,"param":null,"code":...}}
std::string error_object(const Refusal& refusal);

Refusal bad_request(std::string message);
Refusal too_large(int status, std::string message);  // 413, 414, 431
Refusal timed_out(std::string message);              // 408
Refusal overloaded(std::string message);             // 503, to be tried again
Refusal unauthorized(std::string message);           // 401
Refusal failed();                                    // 500, says nothing more

}  // namespace heed::http
