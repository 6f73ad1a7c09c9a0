#include "batches/batch_record.h"

#include <algorithm>

#include "api/fields.h"
#include "batches/file_store.h"
#include "batches/random_id.h"

namespace heed {
namespace {

constexpr std::array<const char*, kNumBatchStatuses> kNames = {
    "validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled"};

OrderedJson number_or_null(int64_t value) { return value == 0 ? OrderedJson(nullptr) : OrderedJson(value); }

OrderedJson counts_json(const BatchCounts& counts) {
  return {{"total", counts.total}, {"completed", counts.completed}, {"failed", counts.failed}};
}

OrderedJson problems_json(const std::vector<LineProblem>& problems) {
  OrderedJson list = OrderedJson::array();
  for (const LineProblem& problem : problems) {
    list.push_back({{"code", problem.error.code},
                    {"line", number_or_null(problem.line)},
                    {"message", problem.error.message},
                    {"param", or_null(problem.error.param)}});
  }
  return list;
}

void take_status(BatchRecord& batch, const OrderedJson& value, const Place& /*place*/) {
  const auto found = std::find(kNames.begin(), kNames.end(), value.get_ref<const std::string&>());
  batch.status = static_cast<BatchStatus>(found - kNames.begin());
}

void take_since(BatchRecord& batch, const OrderedJson& value, const Place& place) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    const auto time = value.find(kNames[i]);
    if (time == value.end()) continue;
    if (!check_shape(integer(0, INT64_MAX), *time, place.at(kNames[i]))) return;
    batch.since[i] = time->get<int64_t>();
  }
}

void take_counts(BatchRecord& batch, const OrderedJson& value, const Place& place) {
  static const FieldTable<BatchCounts> table({
      field("total", integer(0, INT64_MAX), &BatchCounts::total),
      field("completed", integer(0, INT64_MAX), &BatchCounts::completed),
      field("failed", integer(0, INT64_MAX), &BatchCounts::failed),
  });
  read_fields(value, table, batch.counts, place);
}

void take_problems(BatchRecord& batch, const OrderedJson& value, const Place& place) {
  static const FieldTable<LineError> error_table({
      field("code", text(1000), &LineError::code),
      field("message", text(10'000), &LineError::message),
      field("param", text(1000), &LineError::param),
  });
  static const FieldTable<LineProblem> table = [] {
    FieldTable<LineProblem> fields({field("line", integer(0, INT64_MAX), &LineProblem::line)});
    return fields.embed(&LineProblem::error, error_table);
  }();
  for (size_t i = 0; i < value.size(); ++i) {
    read_fields(value[i], table, batch.problems.emplace_back(), place.at(static_cast<int64_t>(i)));
  }
}

const FieldTable<BatchRecord>& record_fields() {
  static const FieldTable<BatchRecord> table({
      field("id", text(100, 1), &BatchRecord::id),
      field("made_ns", integer(1, INT64_MAX), &BatchRecord::made_ns),
      field("endpoint", text(100, 1), &BatchRecord::endpoint),
      field("input_file_id", text(100, 1), &BatchRecord::input_file_id),
      field("output_file_id", text(100), &BatchRecord::output_file_id),
      field("error_file_id", text(100), &BatchRecord::error_file_id),
      field("metadata", object(), &BatchRecord::metadata),
      field("window_seconds", integer(0, INT32_MAX), &BatchRecord::window_seconds),
      field<BatchRecord>("status", one_of({kNames.begin(), kNames.end()}), take_status),
      field("expiring", boolean(), &BatchRecord::expiring),
      field<BatchRecord>("since", object(), take_since),
      field<BatchRecord>("counts", object(), take_counts),
      field<BatchRecord>("problems", list(1000), take_problems),
  });
  return table;
}

}  // namespace

const char* status_name(BatchStatus status) { return kNames[static_cast<size_t>(status)]; }

bool is_final(BatchStatus status) {
  return status == BatchStatus::kCompleted || status == BatchStatus::kFailed ||
         status == BatchStatus::kExpired || status == BatchStatus::kCancelled;
}

int64_t BatchRecord::expires_at() const { return made_ns / kSecond + window_seconds; }

void BatchRecord::set(BatchStatus next) {
  status = next;
  since[static_cast<size_t>(next)] = now_ns() / kSecond;
}

OrderedJson batch_object(const BatchRecord& batch) {
  const auto since = [&](BatchStatus status) {
    return number_or_null(batch.since[static_cast<size_t>(status)]);
  };
  // The files are there for others only when they are complete.
  const bool has_results = is_final(batch.status);
  return {{"id", batch.id},
          {"object", "batch"},
          {"endpoint", batch.endpoint},
          {"errors", batch.problems.empty()
                         ? OrderedJson(nullptr)
                         : OrderedJson{{"object", "list"}, {"data", problems_json(batch.problems)}}},
          {"input_file_id", batch.input_file_id},
          {"completion_window", "24h"},
          {"status", status_name(batch.status)},
          {"output_file_id", or_null(has_results ? batch.output_file_id : "")},
          {"error_file_id", or_null(has_results ? batch.error_file_id : "")},
          {"created_at", batch.made_ns / kSecond},
          {"in_progress_at", since(BatchStatus::kInProgress)},
          {"expires_at", batch.expires_at()},
          {"finalizing_at", since(BatchStatus::kFinalizing)},
          {"completed_at", since(BatchStatus::kCompleted)},
          {"failed_at", since(BatchStatus::kFailed)},
          {"expired_at", since(BatchStatus::kExpired)},
          {"cancelling_at", since(BatchStatus::kCancelling)},
          {"cancelled_at", since(BatchStatus::kCancelled)},
          {"request_counts", counts_json(batch.counts)},
          {"metadata", batch.metadata}};
}

std::string record_text(const BatchRecord& batch) {
  OrderedJson since = OrderedJson::object();
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (batch.since[i] != 0) since[kNames[i]] = batch.since[i];
  }
  return to_text(OrderedJson{{"id", batch.id},
                             {"made_ns", batch.made_ns},
                             {"endpoint", batch.endpoint},
                             {"input_file_id", batch.input_file_id},
                             {"output_file_id", batch.output_file_id},
                             {"error_file_id", batch.error_file_id},
                             {"metadata", batch.metadata},
                             {"window_seconds", batch.window_seconds},
                             {"status", status_name(batch.status)},
                             {"expiring", batch.expiring},
                             {"since", since},
                             {"counts", counts_json(batch.counts)},
                             {"problems", problems_json(batch.problems)}});
}

Result<BatchRecord> read_record(const std::string& text, const std::string& what) {
  const OrderedJson document = TRY(parse_ordered_json(text, what));
  BatchRecord batch;
  std::optional<ApiError> error;
  read_fields(document, record_fields(), batch, Place(error));
  if (error) return invalid(what + ": " + error->message);
  if (!is_random_id(kBatchPrefix, batch.id)) return invalid(what + ": no id of a batch");
  if (!is_random_id(kFilePrefix, batch.input_file_id)) return invalid(what + ": no id of an input file");
  for (const std::string& id : {batch.output_file_id, batch.error_file_id}) {
    if (!is_random_id(kFilePrefix, id) && !(id.empty() && is_final(batch.status))) {
      return invalid(what + ": no id of a file of results");
    }
  }
  return batch;
}

}  // namespace heed
